"""Train a small DistilBERT student on the teacher's logits."""

from typing import Any

import numpy as np
import torch
from datasets import Dataset, DatasetDict, Value, concatenate_datasets
from pydantic.dataclasses import dataclass
from torch.nn import functional
from tqdm import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    set_seed,
)

from stages.core.engines.variant import Manifest, Variant
from stages.core.launch.command import launch
from stages.core.launch.parse import STRICT
from stages.core.launch.paths import REPORTS, existing
from stages.core.launch.settings import DistillConfig, ModelConfig, Seed, StudentConfig
from stages.core.text.corpus import load_corpus
from stages.core.training.student import build_student
from stages.core.training.trainer import bf16_wanted, kept_accuracy, save_run, tokenize, train

UNLABELLED = -100  # the label that PyTorch's cross-entropy leaves out


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    distill: DistillConfig
    student: StudentConfig
    model: ModelConfig
    seed: Seed


def run(config: Config) -> str:
    """Write the student's checkpoint and its learning curve, reports/distill.csv."""
    set_seed(config.seed)
    directory = existing(Variant("teacher", "pytorch").directory)
    teacher = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    # A DistilBERT knows no token types, and to the teacher zeros are what they default to.
    tokenizer = AutoTokenizer.from_pretrained(
        directory, model_input_names=["input_ids", "attention_mask"]
    )
    student = build_student(config.student, teacher)
    lessons = tokenize(load_corpus(), tokenizer, config.model.max_length)
    if config.distill.label_weight < 1:
        texts = with_transfer(lessons)
        logits = teacher_logits(teacher, tokenizer, texts, bf16_wanted(config.distill.bf16))
        lessons["train"] = texts.add_column("teacher_logits", logits.tolist())
    curve = train(
        student,
        tokenizer,
        lessons,
        config.distill,
        seed=config.seed,
        trainer_class=DistillationTrainer,
        temperature=config.distill.temperature,
        label_weight=config.distill.label_weight,
    )
    target = Variant("student", "pytorch").directory
    save_run(student, tokenizer, curve, target, REPORTS / "distill.csv")
    Manifest("pytorch", "PyTorch", student.config.max_position_embeddings).write(target)
    return f"{target} with a validation accuracy of {kept_accuracy(curve):.4f}"


def with_transfer(corpus: DatasetDict) -> Dataset:
    """Return the train texts, then the transfer texts with a label that the loss leaves out."""
    train_texts = corpus["train"].cast_column("label", Value("int64"))
    if "transfer" not in corpus:
        return train_texts
    unlabelled = np.full(corpus["transfer"].num_rows, UNLABELLED)
    return concatenate_datasets([train_texts, corpus["transfer"].add_column("label", unlabelled)])


def teacher_logits(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Dataset, bf16: bool
) -> np.ndarray:
    """Return the teacher's logits for tokenized `texts`, float32, shape (texts, classes).

    Computed once, in batches of like length, and used in every epoch.
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


class DistillationTrainer(Trainer):
    """A Trainer whose loss mixes the teacher's softened distribution and the true labels."""

    def __init__(self, *args: Any, temperature: float, label_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.temperature = temperature
        self.label_weight = label_weight

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Any:
        """Return the batch's mean loss; without teacher logits (validation), that on labels."""
        labels, taught = inputs.pop("labels"), inputs.pop("teacher_logits", None)
        outputs = model(**inputs)
        if taught is None:
            loss = functional.cross_entropy(outputs.logits, labels)
        else:
            loss = distillation_loss(
                outputs.logits, taught, labels, self.temperature, self.label_weight
            )
        return (loss, outputs) if return_outputs else loss


def distillation_loss(
    logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    label_weight: float,
) -> torch.Tensor:
    """Return the mean over a batch of the loss of Hinton et al. (2015, arXiv:1503.02531).

    Every text weighs the same; an unlabelled one lacks the second term.

    Args:
        logits: of the student, shape (batch, classes).
        teacher_logits: shape (batch, classes).
        labels: class indices, −100 where unknown, shape (batch,).
        temperature: softens both distributions; its square keeps the gradient's scale.
        label_weight: share of the cross-entropy with the labels, from 0 to 1.
    """
    soft = functional.kl_div(
        functional.log_softmax(logits / temperature, dim=-1),
        functional.log_softmax(teacher_logits / temperature, dim=-1),
        log_target=True,
        reduction="batchmean",
    )
    hard = functional.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
    return (1 - label_weight) * temperature**2 * soft + label_weight * hard / len(labels)


if __name__ == "__main__":
    launch(run, Config)
