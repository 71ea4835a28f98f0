"""Let one variant classify the validation and test texts, as they would be served."""

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from stages.core.engines.classifier import encode, load_classifier, load_tokenizer
from stages.core.launch.atomic import atomic_directory
from stages.core.launch.command import launch
from stages.core.launch.parse import STRICT
from stages.core.launch.paths import EVALUATION, variant_directory
from stages.core.launch.settings import EvaluateConfig
from stages.core.text.corpus import label_names, load_corpus


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    evaluate: EvaluateConfig


def run(config: Config) -> str:
    """Write data/evaluation/<variant>/predictions.parquet: split, label, predicted, logit_<class>.

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
        logits = np.concatenate([classifier.logits(encode(tokenizer, [text])) for text in texts])
        table = pd.DataFrame(logits, columns=label_names(corpus)).add_prefix("logit_")
        table.insert(0, "split", split)
        table.insert(1, "label", corpus[split]["label"][:])
        table.insert(2, "predicted", logits.argmax(axis=1))
        tables.append(table)
    predictions = pd.concat(tables, ignore_index=True)
    with atomic_directory(EVALUATION / variant) as target:
        predictions.to_parquet(target / "predictions.parquet", index=False)
    right = predictions["predicted"] == predictions["label"]
    accuracy = right.groupby(predictions["split"]).mean()
    return f"{EVALUATION / variant} with a test accuracy of {accuracy['test']:.4f}"


if __name__ == "__main__":
    launch(run, Config)
