"""Let one variant classify the validation and test texts, as they would be served."""

from typing import Literal

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass
from sklearn.metrics import accuracy_score, f1_score
from tqdm import tqdm

from stages.core.app import launch
from stages.core.config import STRICT, ModelConfig
from stages.core.corpus import label_names, load_corpus
from stages.core.files import whole_directory, write_json
from stages.core.inference import encode, load_classifier, load_tokenizer
from stages.core.layout import EVALUATION, VARIANTS, variant_directory


@dataclass(config=STRICT)
class EvaluateConfig:
    """Settings of the evaluation."""

    variant: Literal[VARIANTS]  # type: ignore[valid-type]


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    evaluate: EvaluateConfig
    model: ModelConfig


def run(config: Config) -> str:
    """Write data/evaluation/<variant>: predictions.parquet and scores.json.

    Every text is a request of its own, without padding: dynamic INT8 gives other logits in a batch
    (microsoft/onnxruntime#10111).
    """
    variant = config.evaluate.variant
    directory = variant_directory(variant)
    classifier = load_classifier(directory)
    tokenizer = load_tokenizer(directory)
    corpus = load_corpus()
    tables = []
    for split in ("validation", "test"):
        texts = tqdm(
            corpus[split]["text"][:], desc=f"{variant}, {split}", unit="text", disable=None
        )
        logits = np.concatenate(
            [
                classifier.logits(encode(tokenizer, [text], config.model.max_length))
                for text in texts
            ]
        )
        table = pd.DataFrame(logits, columns=label_names(corpus)).add_prefix("logit_")
        table.insert(0, "split", split)
        table.insert(1, "label", corpus[split]["label"][:])
        table.insert(2, "predicted", logits.argmax(axis=1))
        tables.append(table)
    predictions = pd.concat(tables, ignore_index=True)
    scores = {split: score(rows) for split, rows in predictions.groupby("split")}
    with whole_directory(EVALUATION / variant) as target:
        predictions.to_parquet(target / "predictions.parquet", index=False)
        write_json(target / "scores.json", scores)
    return f"{EVALUATION / variant} with a test accuracy of {scores['test']['accuracy']:.4f}"


def score(predictions: pd.DataFrame) -> dict[str, float]:
    """Return how many texts there are, and accuracy and macro F1, from 0 to 1."""
    truth, guess = predictions["label"], predictions["predicted"]
    return {
        "texts": len(predictions),
        "accuracy": round(accuracy_score(truth, guess), 6),
        "macro_f1": round(f1_score(truth, guess, average="macro"), 6),
    }


if __name__ == "__main__":
    launch(run, Config)
