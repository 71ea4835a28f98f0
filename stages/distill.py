"""Train a small student on the teacher's logits."""

import inspect
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, DatasetDict, Value, concatenate_datasets
from tqdm import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from stages.core.engines.variant import Manifest, Variant
from stages.core.launch.command import launch
from stages.core.launch.paths import REPORTS, existing
from stages.core.launch.settings import Settings
from stages.core.task.losses import UNLABELLED, DistillationTrainer
from stages.core.text.corpus import load_corpus
from stages.core.training.student import build_student
from stages.core.training.trainer import (
    bf16_wanted,
    kept_accuracy,
    longest_text,
    save_run,
    tokenize,
    train,
)


def run(config: Settings) -> str:
    """Write the student's checkpoint and its learning curve, reports/distill.csv."""
    set_seed(config.seed)
    directory = existing(Variant("teacher", "pytorch").directory)
    teacher = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    student = build_student(config.student, teacher)
    tokenizer = student_tokenizer(directory, student)
    corpus = load_corpus()
    del corpus["test"]
    tokens = tokenize(corpus, tokenizer, config.model.max_length)
    if config.distill.label_weight < 1:
        texts = with_transfer(tokens)
        logits = teacher_logits(teacher, tokenizer, texts, bf16_wanted(config.distill.bf16))
        tokens["train"] = texts.add_column("teacher_logits", logits.tolist())
    curve = train(
        student,
        tokenizer,
        tokens,
        config.distill,
        section="distill",
        seed=config.seed,
        trainer_class=DistillationTrainer,
        temperature=config.distill.temperature,
        label_weight=config.distill.label_weight,
    )
    target = Variant("student", "pytorch").directory
    manifest = Manifest("pytorch", "PyTorch", longest_text(student.config))
    save_run(student, tokenizer, curve, target, REPORTS / "distill.csv", manifest.write)
    return f"{target} with a validation accuracy of {kept_accuracy(curve):.4f}"


def student_tokenizer(teacher: Path, student: PreTrainedModel) -> PreTrainedTokenizerBase:
    """Return the teacher's tokenizer, which gives only those inputs that the student reads.

    A DistilBERT reads no token types; for a teacher that does, they default to zeros.
    """
    inputs = AutoTokenizer.from_pretrained(teacher).model_input_names
    known = inspect.signature(student.forward).parameters
    return AutoTokenizer.from_pretrained(
        teacher, model_input_names=[name for name in inputs if name in known]
    )


def with_transfer(corpus: DatasetDict) -> Dataset:
    """Return the train texts, then the transfer texts with a label that the loss ignores."""
    train_texts = corpus["train"].cast_column("label", Value("int64"))
    if "transfer" not in corpus:
        return train_texts
    unlabelled = np.full(corpus["transfer"].num_rows, UNLABELLED)
    return concatenate_datasets([train_texts, corpus["transfer"].add_column("label", unlabelled)])


def teacher_logits(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Dataset, bf16: bool
) -> np.ndarray:
    """Return the teacher's logits for tokenized `texts`, float32, shape (texts, classes).

    They are computed once, in batches of similar length, and used in every epoch.
    """
    texts = texts.remove_columns("label")
    order = np.argsort([len(ids) for ids in texts["input_ids"]])
    collate = DataCollatorWithPadding(tokenizer)
    logits = np.empty((len(texts), teacher.config.num_labels), dtype=np.float32)
    batches = np.array_split(order, max(1, len(order) // 64))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        for batch in tqdm(batches, desc="teacher's logits", unit="batch", disable=None):
            inputs = collate([texts[int(i)] for i in batch])
            logits[batch] = teacher(**inputs).logits.float().numpy()
    return logits


if __name__ == "__main__":
    launch(run)
