"""Put one variant into data/release, ready to upload, with a model card."""

import shutil
from pathlib import Path

import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from stages.core.engines import load_engine
from stages.core.launch.atomic import atomic_directory
from stages.core.launch.command import launch
from stages.core.launch.errors import read_json
from stages.core.launch.paths import MACHINE, RELEASE, REPORTS
from stages.core.launch.settings import Settings
from stages.core.reporting import tables
from stages.core.reporting.results import BASELINE, classes, fastest_student, recommended
from stages.core.reporting.verdict import doubts
from stages.core.serving.classifier import load_tokenizer
from stages.core.serving.variant import Manifest, Variant

TEMPLATE = Path(__file__).parent / "core" / "reporting" / "templates" / "card.md.jinja"
REFUSAL = (
    "# No model\n\nNo variant meets the constraints of `report`. Relax them, or use `{}`.\n\n{}"
)


def run(config: Settings) -> str:
    """Write data/release: a variant's directory and its model card; without one, only a README."""
    table = pd.read_csv(REPORTS / "results.csv", index_col="variant")
    chosen, other = recommended(table), f"release.variant={fastest_student(table)}"
    name = chosen if config.release.variant == "recommended" else config.release.variant
    with atomic_directory(RELEASE) as directory:
        if name is None:
            reasons = tables.render(table, [tables.VARIANT, tables.Column("Reason", "verdict")])
            text = REFUSAL.format(other, tables.markdown(reasons))
            done = f"{RELEASE} holds no model: no variant meets the constraints; use {other}"
        else:
            variant = Variant.named(name)
            shutil.copytree(variant.directory, directory, dirs_exist_ok=True)
            text = card(config, variant, table)
            kind = "recommended" if name == chosen else "not recommended"
            accuracy = table.loc[name, "accuracy"]
            done = f"{RELEASE}, {variant.title} ({kind}), with a test accuracy of {accuracy:.4f}"
        (directory / "README.md").write_text(text + "\n", encoding="utf-8")
    return done


def card(config: Settings, variant: Variant, table: pd.DataFrame) -> str:
    """Return a model card (https://huggingface.co/docs/hub/model-cards) from results.csv."""
    row, manifest = table.loc[variant.name], Manifest.read(variant.directory)
    engine, chosen = load_engine(manifest.engine), recommended(table)
    max_length = load_tokenizer(variant.directory).truncation["max_length"]
    title = f"{variant.title.capitalize()}: {row['label']}"
    metadata = ModelCardData(
        license=config.model.license,
        library_name=engine.LIBRARY,
        pipeline_tag="text-classification",
        model_name=title,
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
    figures = tables.render(table.loc[[variant.name, BASELINE]], tables.CARD)
    figures = figures.T.set_axis(["This model", "The fine-tuned teacher in PyTorch"], axis=1)
    return ModelCard.from_template(
        metadata,
        str(TEMPLATE),
        title=title,
        row=row,
        student=variant.model == "student",
        doubts=doubts(table, variant.name),
        recommended=Variant.named(chosen).title if chosen else None,
        figures=tables.markdown(figures.reset_index(names="")),
        labels=[tables.literal(label) for label in classes(table)],
        example=engine.EXAMPLE.format(max_length=max_length, threads=config.benchmark.threads),
        max_length=max_length,
        encoder=config.model,
        texts=config.data,
        manifest=manifest,
        threads=config.benchmark.threads,
        machine=read_json(MACHINE),
    ).content


if __name__ == "__main__":
    launch(run)
