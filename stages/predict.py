"""Classify texts with any variant: `python stages/predict.py "A lovely film."`.

Not a stage: it uses what the pipeline has made, with the code that evaluate and benchmark use.
"""

import argparse
import csv
import io
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from scipy.special import softmax
from tqdm import tqdm

from stages.core.engines.classifier import encode, load_classifier, load_tokenizer
from stages.core.launch.errors import InputError, printable
from stages.core.launch.paths import VARIANTS, check_root, variant_directory

Row = dict[str, str | float]  # text, label, score (the label's probability), ms


def predict(texts: list[str], variant: str) -> Iterator[Row]:
    """Return for each text its label, the probability of that, and the ms from text to label.

    Raises:
        InputError: the variant was not made.
    """
    directory = variant_directory(variant)
    classifier, tokenizer = load_classifier(directory), load_tokenizer(directory)

    def row(text: str) -> Row:
        started = time.perf_counter()
        scores = softmax(classifier.logits(encode(tokenizer, [text]))[0])
        answer = int(scores.argmax())
        label, score = classifier.labels[answer], round(float(scores[answer]), 4)
        ms = round((time.perf_counter() - started) * 1e3, 3)
        return {"text": text, "label": label, "score": score, "ms": ms}

    row("The first call is slower than all others.")
    return map(row, tqdm(texts, desc=variant, unit="text", disable=None))


def read_lines(name: str) -> list[str]:
    """Return the lines of a UTF-8 file, or of standard input (`-`)."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return [line.rstrip("\r\n") for line in io.StringIO(data.decode("utf-8-sig"))]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name} can't be read as UTF-8 text ({error}); convert it") from error


def decoded(texts: list[str]) -> list[str]:
    """Return texts of the command line; bytes that are not UTF-8 come from there as surrogates."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{text!r:.100} is not UTF-8 text; convert it") from error
    return texts


def print_text(rows: Iterator[Row]) -> None:
    """Print rows for people: one a line, and nothing in it that a terminal would obey."""
    for row in rows:
        label, text = printable(str(row["label"])), printable(str(row["text"]))
        print(f"{label}\t{row['score']:.4f}\t{row['ms']:.2f} ms\t{text}")


def print_csv(rows: Iterator[Row]) -> None:
    """Print rows as csv with a header, texts as they are: whoever reads it joins on them.

    So a spreadsheet takes a text like `=1+1` for a formula, unless it imports the column as text.
    """
    fields = ("text", "label", "score", "ms")
    # Texts always in quotes: unquoted, a carriage return in one would end the row.
    writer = csv.DictWriter(sys.stdout, fields, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def print_jsonl(rows: Iterator[Row]) -> None:
    """Print rows as JSON, one a line."""
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))


FORMATS = {"text": print_text, "csv": print_csv, "jsonl": print_jsonl}


def main() -> None:
    """Parse the command line, predict and print."""
    parser = argparse.ArgumentParser(description="Classify texts with a variant of the pipeline.")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text to classify")
    parser.add_argument("--input", metavar="FILE", help="a file with one text a line; - is stdin")
    parser.add_argument("--variant", choices=VARIANTS, default="student_int8")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="csv and jsonl keep texts as they are; a spreadsheet may take one for a formula",
    )
    options = parser.parse_args()
    if bool(options.texts) == bool(options.input):
        parser.error("give texts, or a file of them with --input (- for standard input)")
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # like the input
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads the output may stop early
    try:
        check_root()
        texts = decoded(options.texts) if options.texts else read_lines(options.input)
        FORMATS[options.format](predict(texts, options.variant))
    except InputError as error:
        sys.exit(f"predict: {error}")


if __name__ == "__main__":
    main()
