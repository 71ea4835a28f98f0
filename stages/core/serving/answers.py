"""Texts to labels (`classify`, what is timed) or to labels with probabilities (`answering`)."""

import time
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from stages.core.launch.cores import cores
from stages.core.launch.errors import InputError, read_json
from stages.core.launch.paths import BENCHMARK, MODELS, RELEASE
from stages.core.serving.classifier import Classifier, encode, load_classifier, load_tokenizer
from stages.core.serving.variant import MANIFEST, Variant
from stages.core.task.decoding import predicted, probabilities

Answer = tuple[str, float]  # a label and its probability
WARM_UP_SECONDS = 2.0


def classify(classifier: Classifier, tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    """Return the label of each text: what "text to label" times."""
    answers = predicted(classifier.logits(encode(tokenizer, texts)))
    return [classifier.labels[answer] for answer in answers]


def warm_up(classifier: Classifier, tokenizer: Tokenizer) -> None:
    """Compute logits for each length, the limit and then from short to long, for WARM_UP_SECONDS.

    OpenVINO takes up to three times as long for the first text of a length, since it generates its
    kernels in that call. The longest comes first, so that all variants reach their peak memory.
    """
    limit = tokenizer.truncation["max_length"]
    inputs = encode(tokenizer, ["a " * limit])
    end = time.perf_counter() + WARM_UP_SECONDS
    for length in (limit, *range(2, limit)):
        classifier.logits({name: values[:, :length] for name, values in inputs.items()})
        if time.perf_counter() > end:
            break


def answering(
    directory: Path, threads: int, *, every_length: bool = False
) -> Callable[[list[str]], list[Answer]]:
    """Return a function from texts, answered in one call, to the answer for each.

    It makes the slow first call itself; with `every_length`, also one for each length.
    """
    classifier, tokenizer = load_classifier(directory, threads), load_tokenizer(directory)

    def answer(texts: list[str]) -> list[Answer]:
        logits = classifier.logits(encode(tokenizer, texts))
        return [
            (classifier.labels[number], round(float(scores[number]), 4))
            for number, scores in zip(predicted(logits), probabilities(logits), strict=True)
        ]

    answer(["A first call."])
    if every_length:
        warm_up(classifier, tokenizer)
    return answer


def model_directory(name: str | None) -> Path:
    """Return the directory of a variant, or that of the release.

    Raises:
        InputError: it holds no model.
    """
    directory = Variant.named(name).directory if name else RELEASE
    if not (directory / MANIFEST).exists():
        made = sorted(file.parent for file in MODELS.glob(f"*/*/{MANIFEST}"))
        names = ", ".join(f"{each.parent.name}_{each.name}" for each in made)
        remedy = f"use --variant with one of {names}" if made else "make it with: dvc repro"
        raise InputError(f"no model in {directory}; {remedy}")
    return directory


def measured_threads() -> int:
    """Return how many threads the benchmark gave each variant, at most all cores."""
    file = BENCHMARK / "conditions.json"
    measured = read_json(file) if file.exists() else {}
    return min(cores(), measured.get("threads", cores()))
