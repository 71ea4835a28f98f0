"""Train a small student on the teacher's logits."""

import numpy as np
from transformers import AutoModelForSequenceClassification, set_seed

from stages.core.launch.command import launch
from stages.core.launch.paths import LABELLED, existing
from stages.core.launch.settings import Settings
from stages.core.serving.variant import Variant
from stages.core.task.losses import class_weights
from stages.core.text.corpus import draw_texts, load_corpus, load_texts
from stages.core.training import trainer
from stages.core.training.device import begin, bf16_wanted, described
from stages.core.training.student import build_student
from stages.core.training.trainers import DistillationTrainer

PRUNING_TEXTS = 512  # which decide what units stay


def run(config: Settings) -> str:
    """Write the student's checkpoint and its learning curve, reports/distill.csv."""
    device = begin(config.device, config.processes)
    set_seed(config.seed)
    directory = existing(Variant("teacher", "pytorch").directory)
    teacher = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    corpus = load_corpus()
    random = np.random.default_rng(config.seed)
    texts = draw_texts(corpus["train"]["text"][:], PRUNING_TEXTS, random)
    length = config.model.max_length
    student, tokenizer = build_student(config.student, teacher, directory, length, texts)
    labels = corpus["train"]["label"][:]
    if config.distill.label_weight < 1:
        corpus["train"] = load_texts(LABELLED)
    curve = trainer.train(
        student,
        tokenizer,
        trainer.tokenize(corpus, tokenizer),
        config.distill,
        section="distill",
        seed=config.seed,
        device=device,
        bf16=bf16_wanted(config.bf16, device),
        trainer_class=DistillationTrainer,
        class_weights=class_weights(config.distill.class_weights, labels),
        temperature=config.distill.temperature,
        label_weight=config.distill.label_weight,
    )
    target = trainer.save_run("student", student, tokenizer, curve)
    accuracy = trainer.kept_accuracy(curve)
    return f"{target} with a validation accuracy of {accuracy:.4f}, trained on {described(device)}"


if __name__ == "__main__":
    launch(run, parallel=True)
