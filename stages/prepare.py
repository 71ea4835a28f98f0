"""Clean the texts, give every one a single place, and split them by label."""

import textwrap
from numbers import Number
from unicodedata import category

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from pydantic.dataclasses import dataclass
from sklearn.model_selection import train_test_split
from transformers import AutoTokenizer

from stages.core.launch.atomic import atomic_directory, write_json
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.parse import STRICT
from stages.core.launch.paths import CORPUS, CORPUS_SOURCE, ENCODER, REPORTS, existing
from stages.core.launch.settings import DataConfig, ModelConfig
from stages.core.text.corpus import TEXT_SUFFIXES, read_table

# Unicode's categories of control characters, lone surrogates and line separators.
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
# A text that stands in two splits stays in the first of these.
PRECEDENCE = ("test", "validation", "train", "transfer")


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    data: DataConfig
    model: ModelConfig


def run(config: Config) -> str:
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
    cut = [
        f"{row['cut_share']:.2%} of {name}" for name, row in statistics.items() if row["cut_share"]
    ]
    told = f"; longer than model.max_length = {limit} tokens, and so cut: {', '.join(cut)}"
    return f"{CORPUS} with {rows} texts{told if cut else ''}"


def prepared(data: DataConfig) -> DatasetDict:
    """Return the corpus that the fetched files hold."""
    table = read_splits(data)
    names = data.label_names or found_labels(table)
    check_names(names)
    table["class"] = classes(table["label"], names, data.rating_threshold)
    table.loc[table["class"].isna(), "split"] = "transfer"
    table = split(sample(clean(table), data.max_texts, data.seed), data)
    check(table, names)
    return to_datasets(table, names)


def read_splits(data: DataConfig) -> pd.DataFrame:
    """Read every file into one table: text, label (strings, "" where unknown), split."""
    files = sorted(
        path for path in CORPUS_SOURCE.rglob("*") if path.suffix in TEXT_SUFFIXES and path.is_file()
    )
    patterns = {name: getattr(data.files, name) for name in PRECEDENCE}
    claims = {
        name: [file for file in files if any(file.match(pattern) for pattern in patterns[name])]
        for name in PRECEDENCE
    }
    others = {file for name in PRECEDENCE if name != "train" for file in claims[name]}
    claims["train"] = [file for file in claims["train"] if file not in others]
    for name in PRECEDENCE:
        if patterns[name] and not claims[name]:
            present = ", ".join(file.name for file in files) or "no text file"
            raise InputError(
                f"data.files.{name} = {patterns[name]} matches nothing; there is {present}"
            )
    tables = []
    for name in PRECEDENCE:
        for file in claims[name]:
            table = read_table(file, data.columns)
            text = text_column(table, data.text, file.name)
            label = label_column(table, data.label, file.name, required=name != "transfer")
            tables.append(pd.DataFrame({"text": text, "label": label, "split": name}))
    return pd.concat(tables, ignore_index=True)


def column(table: pd.DataFrame, name: str, file: str, key: str) -> pd.Series:
    """Return a column of `table`, or say which columns there are."""
    if list(table.columns).count(name) != 1:
        columns = ", ".join(str(column) for column in table.columns)
        raise InputError(f"{file} has not one column {name!r}, but {columns}; set {key}")
    return table[name]


def text_column(table: pd.DataFrame, name: str, file: str) -> pd.Series:
    """Return the texts as strings, "" where missing; a column of numbers is refused."""
    values = strings(column(table, name, file, "data.text"), file)
    known = values[values.str.strip() != ""]
    if len(known) and pd.to_numeric(known, errors="coerce").notna().all():
        raise InputError(f"column {name!r} of {file} holds numbers, not texts; set data.text")
    return values


def label_column(table: pd.DataFrame, name: str, file: str, *, required: bool) -> pd.Series:
    """Return the labels as strings, "" where missing."""
    if not required and name not in table.columns:
        return pd.Series("", index=table.index)
    return strings(column(table, name, file, "data.label"), file).str.strip()


def strings(values: pd.Series, file: str) -> pd.Series:
    """Return `values` as strings, "" where missing, and whole numbers without a fraction."""
    known = values[values.notna()].astype(object)
    others = known[[not isinstance(value, str | Number | np.bool_) for value in known]]
    if len(others):
        raise InputError(
            f"column {values.name!r} of {file} holds neither texts nor numbers, the first is a "
            f"{type(others.iloc[0]).__name__}; write them as text"
        )
    floats = known.map(lambda value: isinstance(value, float | np.floating)).astype(bool)
    if all(float(value).is_integer() for value in known[floats]):
        known[floats] = known[floats].map(int)
    return known.map(str).reindex(values.index, fill_value="").astype(object)


def found_labels(table: pd.DataFrame) -> list[str]:
    """Return the distinct labels of the labelled splits, in numeric order if they are numbers."""
    labels = sorted(set(table.loc[table["split"] != "transfer", "label"]) - {""})
    if all(label.isdecimal() for label in labels):
        labels.sort(key=float)
    if len(labels) < 2:
        raise InputError(f"the corpus has one class ({labels}); a classifier needs two or more")
    return labels


def check_names(names: list[str]) -> None:
    """Raise InputError if a class has a name that would break a line or a table."""
    for name in names:
        if not name.strip() or {category(character) for character in name} & UNPRINTABLE:
            raise InputError(
                f"a label is called {name!r:.100}: blank, or with line breaks or control "
                "characters; rename it"
            )


def classes(labels: pd.Series, names: list[str], rating_threshold: float | None) -> pd.Series:
    """Return the class index of every label, missing where the label is.

    Labels are names or, if none is, indices of names. With `rating_threshold`, they are ratings
    whose sign tells the class; a rating weaker than the threshold tells none.
    """
    if rating_threshold is not None:
        ratings = pd.to_numeric(labels.where(labels != ""), errors="coerce")
        ratings = ratings.where(np.isfinite(ratings))
        wrong = labels[(labels != "") & ratings.isna()]
        result = (ratings > 0).astype("Int64").where(ratings.abs() >= rating_threshold)
    else:
        named = set(labels) & set(names)
        index = {name if named else str(i): i for i, name in enumerate(names)}
        result = labels.map(index).astype("Int64")
        wrong = labels[(labels != "") & result.isna()]
    if len(wrong):
        known = textwrap.shorten(", ".join(names), 200)
        expected = "a number" if rating_threshold is not None else f"one of {known}"
        raise InputError(
            f"{len(wrong)} labels are not {expected}, the first is {wrong.iloc[0]!r:.100}; set "
            "data.label or data.label_names"
        )
    return result


def clean(table: pd.DataFrame) -> pd.DataFrame:
    """Normalise white space, drop empty texts, and leave every text once.

    Texts that differ in case alone count as one. A text with two labels in one split says nothing
    and goes; of copies in several splits the one in the first of PRECEDENCE stays.
    """
    table = table.assign(text=table["text"].str.split().str.join(" "))
    table = table[table["text"] != ""]
    table = table.assign(key=table["text"].str.casefold())
    readings = table.groupby(["split", "key"])["class"].transform("nunique")
    table = table[readings <= 1]
    rank = table["split"].map(PRECEDENCE.index)
    first = table.assign(rank=rank).sort_values("rank", kind="stable").drop_duplicates("key")
    return first.sort_index().drop(columns="rank").reset_index(drop=True)


def sample(table: pd.DataFrame, max_texts: int | None, seed: int) -> pd.DataFrame:
    """Leave at most `max_texts` texts in every split that the files give."""
    if max_texts is None:
        return table
    parts = [
        part.sample(min(max_texts, len(part)), random_state=seed)
        for _, part in table.groupby("split", sort=False)
    ]
    return pd.concat(parts, ignore_index=True)


def split(table: pd.DataFrame, data: DataConfig) -> pd.DataFrame:
    """Take the test and validation splits that no file gives out of train, stratified by label."""
    shares = {"test": data.test_share, "validation": data.validation_share}
    rows = int((table["split"] == "train").sum())
    for name, share in shares.items():
        if getattr(data.files, name):
            continue
        train = table[table["split"] == "train"]
        try:
            _, held_out = train_test_split(
                train.index,
                test_size=max(1, round(share * rows)),
                stratify=train["class"],
                random_state=data.seed,
            )
        except ValueError as error:
            raise InputError(
                f"{len(train)} labelled texts are too few for a {name} split of {share:.0%} with "
                f"every class in it ({error!s:.200}); add texts or enlarge data.{name}_share"
            ) from error
        table.loc[held_out, "split"] = name
    return table


def check(table: pd.DataFrame, names: list[str]) -> None:
    """Raise InputError unless every split has every class, and every text one split."""
    for name in ("train", "validation", "test"):
        counts = table.loc[table["split"] == name, "class"].value_counts()
        missing = [label for i, label in enumerate(names) if counts.get(i, 0) == 0]
        if missing:
            raise InputError(
                f"the {name} split has no text labelled {', '.join(missing)}; add some"
            )
    if table["key"].duplicated().any():
        raise AssertionError("a text stands in two splits")


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
    launch(run, Config)
