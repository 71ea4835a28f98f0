"""Classify the validation and test texts with one variant, as they would be served."""

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.core.launch.atomic import atomic_directory, write_json
from stages.core.launch.command import launch
from stages.core.launch.paths import EVALUATION, METRICS
from stages.core.launch.settings import Settings
from stages.core.serving.classifier import encode, load_classifier, load_tokenizer
from stages.core.serving.variant import Variant
from stages.core.task.metrics import scores
from stages.core.task.predictions import tabulate
from stages.core.text.corpus import label_names, load_corpus


def run(config: Settings) -> str:
    """Write a variant's predictions.parquet: text, label, predicted, logit_<class>, split.

    Its scores are DVC metrics: reports/evaluation/<variant>.json, by split and metric.

    Every text is a request of its own, without padding: dynamic INT8 gives other logits in a batch
    (microsoft/onnxruntime#10111).
    """
    variant = Variant(config.run.required("model"), config.run.required("form"))
    classifier = load_classifier(variant.directory, config.benchmark.threads)
    tokenizer = load_tokenizer(variant.directory)
    corpus = load_corpus()
    tables, metrics = [], {}
    for split in ("validation", "test"):
        texts, labels = corpus[split]["text"][:], np.array(corpus[split]["label"][:])
        progress = tqdm(texts, desc=f"{variant.name}, {split}", unit="text", disable=None)
        logits = np.concatenate([classifier.logits(encode(tokenizer, [text])) for text in progress])
        metrics[split] = {name: round(score, 4) for name, score in scores(labels, logits).items()}
        table = tabulate(texts, labels, logits, label_names(corpus))
        tables.append(table.assign(split=split))
    target = EVALUATION / variant.name
    with atomic_directory(target) as directory:
        pd.concat(tables, ignore_index=True).to_parquet(
            directory / "predictions.parquet", index=False
        )
    write_json(METRICS / f"{variant.name}.json", metrics)
    return f"{target} with a test accuracy of {metrics['test']['accuracy']:.4f}"


if __name__ == "__main__":
    launch(run)
