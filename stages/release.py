"""Put one variant where it can be uploaded from as it is: with a model card and its licence."""

import json
import shutil
from pathlib import Path

import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from pydantic.dataclasses import dataclass

from stages.core.engines.classifier import load_classifier, load_tokenizer
from stages.core.launch.atomic import atomic_directory
from stages.core.launch.command import launch
from stages.core.launch.parse import STRICT
from stages.core.launch.paths import MACHINE, RELEASE, REPORTS, spoken, variant_directory
from stages.core.launch.settings import DataConfig, ModelConfig, ReleaseConfig
from stages.core.reporting.page import literal
from stages.core.reporting.results import BASELINE

TEMPLATE = Path(__file__).parent / "core" / "reporting" / "templates" / "card.md.jinja"


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    release: ReleaseConfig
    model: ModelConfig
    data: DataConfig


def run(config: Config) -> str:
    """Write data/release: a variant's directory, and its model card as README.md."""
    variant = f"{config.release.model}_{config.release.form}"
    table = pd.read_csv(REPORTS / "results.csv", index_col="variant")
    text = card(config, variant, table)
    with atomic_directory(RELEASE) as directory:
        shutil.copytree(variant_directory(variant), directory, dirs_exist_ok=True)
        (directory / "README.md").write_text(text + "\n", encoding="utf-8")
    row = table.loc[variant]
    told = "the recommended variant" if row["recommended"] else "not the recommended variant"
    return f"{RELEASE}, {spoken(variant)}, {told}, with a test accuracy of {row['accuracy']:.4f}"


def card(config: Config, variant: str, table: pd.DataFrame) -> str:
    """Return a model card (https://huggingface.co/docs/hub/model-cards).

    Args:
        config: tells what encoder and texts are called, and their licences.
        variant: the one that the card is of.
        table: results.csv.
    """
    directory, row = variant_directory(variant), table.loc[variant]
    metadata = ModelCardData(
        license=config.model.license,
        library_name="transformers" if config.release.form == "pytorch" else "onnx",
        pipeline_tag="text-classification",
        model_name=f"{spoken(variant)}: {row['label']}",
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type="other",
                dataset_name=config.data.title,
                dataset_split="test",
                metric_type=metric,
                metric_value=row[column].item(),
            )
            for metric, column in (("accuracy", "accuracy"), ("f1", "macro_f1"))
        ],
    )
    return ModelCard.from_template(
        metadata,
        str(TEMPLATE),
        title=f"{spoken(variant).capitalize()}: {row['label']}",
        row=row,
        recommended=" ".join(map(spoken, table.index[table["recommended"]])),
        baseline=table.loc[BASELINE],
        labels=[literal(label) for label in load_classifier(directory).labels],
        max_length=load_tokenizer(directory).truncation["max_length"],
        encoder=config.model,
        texts=config.data,
        form=config.release.form,
        machine=json.loads(MACHINE.read_text()),
    ).content


if __name__ == "__main__":
    launch(run, Config)
