"""Train a small student on the teacher's logits."""

import numpy as np
from datasets import Dataset, DatasetDict, Value, concatenate_datasets
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages.core.engines.variant import Manifest, Variant
from stages.core.launch.command import launch
from stages.core.launch.paths import REPORTS, existing
from stages.core.launch.settings import Settings
from stages.core.task.losses import UNLABELLED, DistillationTrainer, class_weights
from stages.core.text.corpus import load_corpus
from stages.core.training import trainer
from stages.core.training.logits import logits_of
from stages.core.training.positions import longest_text
from stages.core.training.student import build_student


def run(config: Settings) -> str:
    """Write the student's checkpoint and its learning curve, reports/distill.csv."""
    trainer.begin(config.seed)
    directory = existing(Variant("teacher", "pytorch").directory)
    teacher = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    student, tokenizer = build_student(config.student, teacher, directory)
    tokenizer.model_max_length, tokenizer.truncation_side = config.model.max_length, "right"
    corpus = load_corpus()
    del corpus["test"]
    tokens = trainer.tokenize(corpus, tokenizer)
    if config.distill.label_weight < 1:
        bf16 = trainer.bf16_wanted(config.distill.bf16)
        texts = with_transfer(corpus)["text"][:]
        read = AutoTokenizer.from_pretrained(directory)
        logits = logits_of(teacher, read, texts, bf16=bf16, name="teacher's logits")
        tokens["train"] = with_transfer(tokens).add_column("teacher_logits", logits.tolist())
    curve = trainer.train(
        student,
        tokenizer,
        tokens,
        config.distill,
        section="distill",
        seed=config.seed,
        trainer_class=DistillationTrainer,
        class_weights=class_weights(config.distill.class_weights, corpus["train"]["label"][:]),
        temperature=config.distill.temperature,
        label_weight=config.distill.label_weight,
    )
    target = Variant("student", "pytorch").directory
    manifest = Manifest("pytorch", "PyTorch", longest_text(student.config))
    trainer.save_run(student, tokenizer, curve, target, REPORTS / "distill.csv", manifest.write)
    return f"{target} with a validation accuracy of {trainer.kept_accuracy(curve):.4f}"


def with_transfer(corpus: DatasetDict) -> Dataset:
    """Return the train texts, then the transfer texts with a label that the loss ignores."""
    train_texts = corpus["train"].cast_column("label", Value("int64"))
    if "transfer" not in corpus:
        return train_texts
    unlabelled = np.full(corpus["transfer"].num_rows, UNLABELLED)
    return concatenate_datasets([train_texts, corpus["transfer"].add_column("label", unlabelled)])


if __name__ == "__main__":
    launch(run)
