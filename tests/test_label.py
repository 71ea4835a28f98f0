from collections.abc import Callable

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages.core.launch.paths import AUGMENTED, LABELLED
from stages.core.serving.variant import Variant
from stages.core.text.corpus import UNLABELLED, load_corpus, load_texts

TEACHER = Variant("teacher", "pytorch").directory


def test_all_texts_have_the_logits_that_each_has_alone(project: Callable) -> None:
    project("label", "bf16=off")
    labelled, corpus = load_texts(LABELLED), load_corpus()
    others = [*corpus["transfer"]["text"], *load_texts(AUGMENTED)["text"]]
    assert labelled["text"][:] == [*corpus["train"]["text"], *others]
    assert labelled["label"][:] == [*corpus["train"]["label"], *[UNLABELLED] * len(others)]
    teacher = AutoModelForSequenceClassification.from_pretrained(TEACHER).eval()
    tokenizer = AutoTokenizer.from_pretrained(TEACHER)
    for row in (0, 7, len(labelled) - 1):
        with torch.no_grad():
            alone = teacher(**tokenizer(labelled["text"][row], return_tensors="pt")).logits[0]
        np.testing.assert_allclose(labelled["teacher_logits"][row], alone, atol=1e-5)


def test_there_need_be_no_texts_but_those_of_the_train_split(project: Callable) -> None:
    project("prepare", "data.files.transfer=[]", "data.files.train=[train.csv]")
    project("augment", "augment.spans=0", "augment.clauses=false")
    assert len(load_texts(AUGMENTED)) == 0
    project("label")
    assert load_texts(LABELLED)["text"][:] == load_corpus()["train"]["text"][:]
