"""Clean, deduplicate and split the texts, stratified by label."""

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from tqdm import tqdm
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from stages.core.launch.atomic import atomic_directory, write_json
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.inputs import DataConfig
from stages.core.launch.paths import CORPUS, CORPUS_SOURCE, ENCODER, REPORTS, existing
from stages.core.launch.settings import Settings, StudentConfig
from stages.core.task.labels import alike, class_names, classes, from_zero, regrouped, whole
from stages.core.task.metrics import quality
from stages.core.text.corpus import label_names
from stages.core.text.files import listed
from stages.core.text.reading import read_corpus
from stages.core.text.splits import HELD_OUT, clean, sample, small_classes, split
from stages.core.training.positions import longest_text
from stages.core.training.student import build_student

BATCH = 1000  # texts


def run(config: Settings) -> str:
    """Write data/corpus, a DatasetDict, and its statistics, reports/data.json.

    Raises:
        InputError: the files can't be read as texts with at least two classes in every split, or
            the encoder doesn't fit the models' settings, or report.quality names no class.
    """
    limit = config.model.max_length
    notes = check_models(config.student, limit)
    corpus, facts = prepared(existing(CORPUS_SOURCE), config.data)
    facts["notes"] += notes
    quality(config.report.quality, label_names(corpus))
    statistics = describe(corpus, limit)
    for note in facts["notes"]:
        print(f"note: {note}")
    with atomic_directory(CORPUS) as directory:
        corpus.save_to_disk(directory)
    write_json(REPORTS / "data.json", facts | statistics)
    rows = ", ".join(f"{name} {dataset.num_rows}" for name, dataset in corpus.items())
    shares = {name: row["cut_share"] for name, row in statistics.items() if row["cut_share"]}
    cut = ", ".join(f"{share:.2%} of {name}" for name, share in shares.items())
    note = f"; longer than model.max_length = {limit} tokens, and so cut: {cut}" if cut else ""
    return f"{CORPUS} with {rows} texts{note}"


def check_models(student: StudentConfig, max_length: int) -> list[str]:
    """Build the models once, without training: so a setting that can't work is refused now.

    Returns a note if the student is no smaller than the teacher.

    Raises:
        InputError: they can't read texts of `max_length`, or the student can't be built.
    """
    encoder = AutoConfig.from_pretrained(existing(ENCODER))
    teacher = AutoModelForSequenceClassification.from_config(encoder)
    small, tokenizer = build_student(student, teacher, ENCODER, max_length, ["A text."])
    try:
        small.eval()(**tokenizer("A text.", return_tensors="pt"))
    except RuntimeError as error:
        raise InputError(
            f"the student can't have this shape ({error}); change student.*"
        ) from error
    for name, config in ("encoder", encoder), ("student", small.config):
        longest = longest_text(config)
        if max_length > longest:
            raise InputError(
                f"model.max_length = {max_length}, but the {name} reads at most {longest} tokens; "
                f"use {longest} or less"
            )
    ours, theirs = (model.num_parameters() for model in (small, teacher))
    note = f"the student has {ours} parameters, the teacher {theirs}; lower student.n_layers"
    return [note] if ours >= theirs else []


def prepared(root: Path, data: DataConfig) -> tuple[DatasetDict, dict[str, Any]]:
    """Return the corpus that a directory holds, and what was read, guessed, drawn and dropped."""
    table, files, notes = read_corpus(root, data)
    given = {name for name in HELD_OUT if files[name]}
    counts = {"read": len(table)}
    table["label"], note = whole(table["label"])
    notes += filter(None, [note])
    labelled = table["split"] != "transfer"
    names = class_names(table.loc[labelled, "label"], data.label_names)
    if data.rating_threshold is None:
        table["label"], note = from_zero(table["label"], names)
        notes += filter(None, [note])
    table["class"] = classes(table["label"], names, data.rating_threshold)
    counts["unlabelled"] = int((labelled & table["class"].isna()).sum())
    table.loc[table["class"].isna(), "split"] = "transfer"
    table, dropped = clean(table)
    counts |= dropped
    table = sample(table, data.max_texts, data.seed)
    rows = len(table)
    gone = [f"dropped {n} {why} texts" for why, n in dropped.items() if n]
    table, names, regrouping = without_small(table, data, names, given, gone)
    counts["of_small_classes"] = rows - len(table)
    table = split(table, data, given)
    notes += [*regrouping, *alike(names)]
    notes += [f"{name} is {listed(each)}" for name, each in files.items() if each]
    notes += gone
    if counts["unlabelled"]:
        notes.append(f"{counts['unlabelled']} texts without a label join the transfer texts")
    drawn = [name for name in HELD_OUT if name not in given]
    return to_datasets(table, names), {"notes": notes, "texts": counts, "drawn": drawn}


def without_small(
    table: pd.DataFrame, data: DataConfig, names: list[str], given: set[str], gone: list[str]
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return the texts and classes without those of small classes, and a note if there are any.

    `given` are the splits that files give, `gone` says which texts were dropped before.

    Raises:
        InputError: there are, and data.small_classes = refuse; or what is left is no better.
    """
    small = small_classes(table, data, names, given)
    if not small:
        return table, names, []
    shown = ", ".join(f"{name!r} ({count})" for name, count in small.items())
    remedy = "add texts, or set data.small_classes=drop or data.small_classes=merge"
    present = table.groupby("split")["class"].nunique()
    for name in sorted(given):
        if present.get(name, 0) < len(names):
            remedy += f", or draw the {name} split from train: data.files.{name}=[]"
    if data.max_texts is not None:
        remedy = f"raise data.max_texts = {data.max_texts}, {remedy}"
    if data.small_classes != "refuse":
        merge = data.small_classes == "merge"
        numbers, kept = regrouped(table["class"], names, {*small}, merge=merge)
        unwanted = numbers.isna() & table["class"].notna()
        left = table.assign(**{"class": numbers})[~unwanted].reset_index(drop=True)
        if len(kept) > 1 and not small_classes(left, data, kept, given):
            done = "merged into one" if merge else "dropped"
            return left, kept, [f"{len(small)} small classes were {done}: {shown:.1000}"]
        remedy = f"data.small_classes={data.small_classes} does not help; add texts"
    raise InputError(
        f"{len(small)} of {len(names)} classes have too few texts to be in every split: "
        f"{'; '.join([textwrap.shorten(shown, 2000), *gone, remedy])}"
    )


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


def describe(corpus: DatasetDict, max_length: int) -> dict[str, dict[str, Any]]:
    """Return rows, token-length percentiles and class sizes of every split.

    Numbers are DVC metrics. The sizes are a list, which DVC leaves out: there may be many.
    """
    tokenizer = AutoTokenizer.from_pretrained(existing(ENCODER)).backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    statistics = {}
    for name, dataset in corpus.items():
        texts = dataset["text"][:]
        starts = tqdm(range(0, len(texts), BATCH), desc=f"tokens of {name}", disable=None)
        batches = (tokenizer.encode_batch_fast(texts[start : start + BATCH]) for start in starts)
        lengths = pd.Series([len(encoding) for batch in batches for encoding in batch])
        row: dict[str, Any] = {"rows": dataset.num_rows}
        row |= {f"tokens_p{q}": int(lengths.quantile(q / 100)) for q in (50, 95, 99)}
        row["tokens_max"] = int(lengths.max())
        row["cut_share"] = round(float((lengths > max_length).mean()), 4)
        if "label" in dataset.features:
            sizes = pd.Series(dataset["label"][:]).value_counts()
            row["largest_class_share"] = round(float(sizes.max() / sizes.sum()), 4)
            labels = dataset.features["label"].names
            row["classes"] = [[label, int(sizes[number])] for number, label in enumerate(labels)]
        statistics[name] = row
    return statistics


if __name__ == "__main__":
    launch(run)
