"""Which files hold texts, and to which split each belongs."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import DataConfig, Files
from stages.core.text.tables import header_of, is_table, suffix_of

# A text that stands in two splits stays in the first of these.
PRECEDENCE = ("test", "validation", "train", "transfer")
# The words in a file's or directory's name that claim it, those of the datasets library and a few.
WORDS = {
    "test": {"test", "tests", "testing", "eval", "evaluation", "holdout"},
    "validation": {"validation", "validate", "valid", "val", "dev"},
    "train": {"train", "training"},
    "transfer": {"transfer", "unlabelled", "unlabeled", "unsupervised", "unsup"},
}
HIDDEN = (".", "__MACOSX", "~$")


def text_files(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the tables under a directory and its other files, both relative to it and sorted.

    What is hidden, as a notebook's checkpoints, is not a table, and comes last. Links to
    directories are not followed; they count as other files.
    """
    found = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    files = sorted(path.relative_to(root) for path in found)
    hidden = [file for file in files if any(part.startswith(HIDDEN) for part in file.parts)]
    shown = sorted({*files} - {*hidden})
    tables = [file for file in shown if is_table(root / file)]
    return tables, [*sorted({*shown} - {*tables}), *hidden]


def innermost(directory: Path) -> Path:
    """Return a directory or, if all that it shows is another one, as in archives, that one.

    It stops at a directory that is named after a split.
    """
    splits = {word for words in WORDS.values() for word in words}
    while True:
        shown = [path for path in directory.iterdir() if not path.name.startswith(HIDDEN)]
        if len(shown) != 1 or not shown[0].is_dir() or shown[0].name.lower() in splits:
            return directory
        (directory,) = shown


def listed(files: Iterable[PurePath], most: int = 5) -> str:
    """Return the names of a few files, and how many more there are."""
    names = [str(file) for file in files]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def named_splits(file: PurePath) -> list[str]:
    """Return the splits that a relative path names, in its last part that names any."""
    for part in reversed(file.parts):
        found_words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part)
        words = {word.lower().removesuffix("set").removesuffix("data") for word in found_words}
        if found := [split for split, names in WORDS.items() if words & names]:
            return found
    return []


def named_split(file: PurePath) -> str | None:
    """Return the split that a relative path names; InputError if it names two."""
    found = named_splits(file)
    if len(found) > 1:
        raise InputError(
            f"{file} is named after two splits, {' and '.join(found)}; set data.files.train "
            "and data.files.test to the names of their files, or [] for none"
        )
    return found[0] if found else None


def claims(files: list[Path], patterns: Files, *, one_each: bool = False) -> dict[str, list[Path]]:
    """Return the files of each split: what its patterns claim, or else what is named after it.

    Patterns claim first, those of train last. A file that is named after a split with patterns,
    none of which claims it, is left out. What is named after none is train's, unless that has
    patterns, and so is a single file, whatever its name. Where each file is one text, only the
    directories around it name a split: its own name may be the text's title.

    Raises:
        InputError: patterns match nothing, or nothing is left to train on.
    """
    found: dict[str, list[Path]] = {name: [] for name in PRECEDENCE}
    left = list(files)
    for split in ("test", "validation", "transfer", "train"):
        wanted = getattr(patterns, split)
        found[split] = [file for file in left if any(map(file.match, wanted or ()))]
        taken = {*found[split]}
        left = [file for file in left if file not in taken]
        if wanted and not found[split]:
            present = listed(files) or "no text file"
            raise InputError(f"data.files.{split} = {wanted} matches nothing; there is {present}")
    for file in left:
        named = file.parent if one_each else file
        split = (named_split(named) if len(files) > 1 else None) or "train"
        if getattr(patterns, split) is None:
            found[split].append(file)
    if not found["train"]:
        raise InputError(
            f"no file is left to train on: {listed(files) or 'there is none'}; set data.files.train"
        )
    return found


def is_text_a_file(files: list[Path], root: Path, data: DataConfig) -> bool:
    """Return whether each file is one text and its directory's name the label, as in aclImdb.

    So it is if there are txt files alone, in two or more directories below the splits' own, and the
    first of them doesn't begin with a header.
    """
    return (
        data.columns is None
        and all(suffix_of(file) == ".txt" for file in files)
        and len({label_of(file) for file in files} - {""}) > 1
        and data.text not in header_of(root / files[0], data)
    )


def label_of(file: Path) -> str:
    """Return the name of the directory that a text is in, "" if that is the root or a split."""
    directory = file.parent.name
    return "" if named_split(PurePath(directory)) else directory
