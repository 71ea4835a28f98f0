"""Classify texts with the released model or a variant: `python -m stages.predict "A lovely film."`.

Not a stage: it serves a model of the pipeline with the code that evaluate and benchmark use.
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

from tqdm import tqdm

from stages.core.launch.errors import InputError, printable
from stages.core.launch.parse import positive
from stages.core.launch.paths import check_root
from stages.core.serving.answers import answering, measured_threads, model_directory
from stages.core.serving.classifier import load_tokenizer

FIELDS = ("text", "label", "score", "ms")  # the score is the label's probability
Row = dict[str, str | float]


def predict(texts: list[str], directory: Path, threads: int | None = None) -> Iterator[Row]:
    """Return for each text its label, the probability of that, and the ms from text to label.

    By default it runs on as many threads as were measured.
    """
    ask = answering(directory, threads or measured_threads())

    def row(text: str) -> Row:
        started = time.perf_counter()
        ((label, score),) = ask([text])
        ms = round((time.perf_counter() - started) * 1e3, 3)
        return {"text": text, "label": label, "score": score, "ms": ms}

    # The rows themselves show the progress where they are seen.
    bar = tqdm(texts, desc="predict", unit="text", disable=sys.stdout.isatty() or None)
    return map(row, bar)


def note_cut(texts: list[str], directory: Path) -> None:
    """Print to standard error of how many texts the model reads the beginning alone."""
    tokenizer = load_tokenizer(directory)
    if cut := sum(bool(tokenizer.encode(text).overflowing) for text in texts):
        limit = tokenizer.truncation["max_length"]
        print(f"note: cut at {limit} tokens: {cut} of {len(texts)} texts", file=sys.stderr)


def read_lines(name: str) -> list[str]:
    """Return the lines of a UTF-8 file, or of standard input (`-`)."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return [line.rstrip("\r\n") for line in io.StringIO(data.decode("utf-8-sig"))]
    except OSError as error:
        raise InputError(f"{name} can't be read ({error}); correct --input") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not in UTF-8 ({error}); convert it") from error


def utf8(text: str) -> str:
    """Return an argument; raise ValueError if its bytes are not UTF-8: they come as surrogates."""
    return text.encode().decode()


def print_text(rows: Iterator[Row]) -> None:
    """Print rows for people, one per line, without control characters."""
    for row in rows:
        answer = f"{printable(str(row['label']))}\t{row['score']:.4f}"
        print(f"{answer}\t{row['ms']:.2f} ms\t{printable(str(row['text']))}")


def print_csv(rows: Iterator[Row]) -> None:
    """Print rows as csv with a header, texts unchanged, so that they can be joined on."""
    # Texts always in quotes: unquoted, a carriage return in one would end the row.
    writer = csv.DictWriter(sys.stdout, FIELDS, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def print_jsonl(rows: Iterator[Row]) -> None:
    """Print rows as JSON, one per line."""
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))


FORMATS = {"text": print_text, "csv": print_csv, "jsonl": print_jsonl}


def main() -> None:
    """Parse the command line, predict and print."""
    parser = argparse.ArgumentParser(description="Classify texts with a variant of the pipeline.")
    parser.add_argument("texts", nargs="*", type=utf8, metavar="TEXT", help="a text to classify")
    parser.add_argument("--input", metavar="FILE", help="a file with one text per line; - is stdin")
    parser.add_argument("--variant", help="such as teacher_pytorch; by default data/release")
    parser.add_argument("--threads", type=positive, help="by default, as many as were measured")
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
    check_root()
    texts, directory = options.texts or read_lines(options.input), model_directory(options.variant)
    note_cut(texts, directory)
    FORMATS[options.format](predict(texts, directory, options.threads))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads the output may stop early
    main()
