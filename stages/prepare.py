"""Clean the texts, give every one a single place, and split them by label."""

import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from transformers import AutoTokenizer

from stages.core.launch.atomic import atomic_directory, write_json
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.inputs import DataConfig
from stages.core.launch.paths import CORPUS, CORPUS_SOURCE, ENCODER, REPORTS, existing
from stages.core.launch.settings import Settings
from stages.core.task.labels import class_names, classes
from stages.core.text.splits import claims, clean, sample, split
from stages.core.text.tables import is_table, read_table, strings


def run(config: Settings) -> str:
    """Write data/corpus, a DatasetDict, and its statistics, reports/data.json.

    Raises:
        InputError: the files can't be read as texts with at least two classes in every split.
    """
    corpus = prepared(config.data)
    limit = config.model.max_length
    statistics = describe(corpus, limit)
    with atomic_directory(CORPUS) as directory:
        corpus.save_to_disk(directory)
    write_json(REPORTS / "data.json", statistics)
    rows = ", ".join(f"{name} {dataset.num_rows}" for name, dataset in corpus.items())
    shares = {name: row["cut_share"] for name, row in statistics.items() if row["cut_share"]}
    cut = ", ".join(f"{share:.2%} of {name}" for name, share in shares.items())
    note = f"; longer than model.max_length = {limit} tokens, and so cut: {cut}" if cut else ""
    return f"{CORPUS} with {rows} texts{note}"


def prepared(data: DataConfig) -> DatasetDict:
    """Return the corpus that the fetched files hold."""
    table = read_splits(data)
    labelled = table["split"] != "transfer"
    names = class_names(table.loc[labelled, "label"], data.label_names)
    table["class"] = classes(table["label"], names, data.rating_threshold)
    table.loc[table["class"].isna(), "split"] = "transfer"
    table = split(sample(clean(table), data.max_texts, data.seed), data, names)
    return to_datasets(table, names)


def read_splits(data: DataConfig) -> pd.DataFrame:
    """Read every file into one table: text, label (strings, "" where unknown), split."""
    files = sorted(filter(is_table, CORPUS_SOURCE.rglob("*")))
    tables = []
    for name, claimed in claims(files, data.files).items():
        for file in claimed:
            table = read_table(file, data.columns)
            texts = strings(table, data.text, file.name, "data.text")
            known = texts[texts.str.strip() != ""]
            if len(known) and pd.to_numeric(known, errors="coerce").notna().all():
                raise InputError(
                    f"column {data.text!r} of {file.name} holds numbers, not texts; set data.text"
                )
            labels = ""
            if name != "transfer" or data.label in table:
                labels = strings(table, data.label, file.name, "data.label").str.strip()
            tables.append(pd.DataFrame({"text": texts, "label": labels, "split": name}))
    return pd.concat(tables, ignore_index=True)


def to_datasets(table: pd.DataFrame, names: list[str]) -> DatasetDict:
    """Return train, validation and test (text, label) and, if there is any, transfer (text)."""
    corpus = {}
    for name in ("train", "validation", "test", "transfer"):
        rows = table[table["split"] == name]
        if rows.empty:
            continue
        columns = {"text": rows["text"].tolist()}
        features = {"text": Value("string")}
        if name != "transfer":
            columns["label"] = rows["class"].tolist()
            features["label"] = ClassLabel(names=names)
        corpus[name] = Dataset.from_dict(columns, features=Features(features))
    return DatasetDict(corpus)


def describe(corpus: DatasetDict, max_length: int) -> dict[str, dict[str, float]]:
    """Return rows, label shares and token-length percentiles of every split."""
    tokenizer = AutoTokenizer.from_pretrained(existing(ENCODER))
    statistics = {}
    for name, dataset in corpus.items():
        lengths = pd.Series([len(ids) for ids in tokenizer(dataset["text"][:])["input_ids"]])
        row: dict[str, float] = {"rows": dataset.num_rows}
        row |= {f"tokens_p{q}": int(lengths.quantile(q / 100)) for q in (50, 95, 99)}
        row["tokens_max"] = int(lengths.max())
        row["cut_share"] = round(float((lengths > max_length).mean()), 4)
        if "label" in dataset.features:
            labels = dataset.features["label"].names
            shares = pd.Series(dataset["label"][:]).value_counts(normalize=True)
            row |= {f"share_{label}": round(shares[i], 4) for i, label in enumerate(labels)}
        statistics[name] = row
    return statistics


if __name__ == "__main__":
    launch(run)
