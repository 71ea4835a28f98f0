"""Resuming an interrupted training: whose checkpoints they are, and which of them are complete."""

import hashlib
import io
import itertools
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import transformers
from datasets import DatasetDict
from transformers import PreTrainedModel

BATCH = 10_000  # texts
COMPLETE = "complete"  # the file that is written last into a checkpoint


class _Digest(io.RawIOBase):
    """A file that keeps only the hash of what is written to it."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.hash.update(content)
        return memoryview(content).nbytes


def run_key(model: PreTrainedModel, corpus: DatasetDict, *settings: Any) -> str:
    """Return a hash of a run's inputs: only a run with the same key resumes its checkpoints.

    It does not notice changed code: a run that is interrupted before a change to the loss, the
    averaging or the trainer resumes after it. Remove data/checkpoints to start again.
    """
    versions = (torch.__version__, transformers.__version__, torch.get_num_threads())
    digest = _Digest()
    digest.write(repr((model.config.to_dict(), settings, versions)).encode())
    for name, weights in model.state_dict().items():
        digest.write(name.encode())
        digest.write(weights.reshape(-1).contiguous().view(torch.uint8).numpy())
    for name, split in corpus.items():
        digest.write(name.encode())
        batches = split.with_format("arrow").iter(BATCH)
        first = next(batches)
        with pa.ipc.new_stream(digest, first.schema) as stream:
            for table in itertools.chain([first], batches):
                stream.write_table(table)
    return digest.hash.hexdigest()


def last_checkpoint(directory: Path) -> str | None:
    """Return a run's last complete checkpoint; remove incomplete ones, and those of other runs."""
    directory.mkdir(parents=True, exist_ok=True)
    complete = {path.parent for path in directory.glob(f"checkpoint-*/{COMPLETE}")}
    for path in {*directory.parent.iterdir(), *directory.iterdir()} - {directory, *complete}:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not complete:
        return None
    last = max(complete, key=lambda path: int(path.name.split("-")[1]))
    print(f"resuming an interrupted run from {last.name.replace('-', ' ')}", flush=True)
    return str(last)


def seal(checkpoint: Path) -> None:
    """Mark a checkpoint as complete."""
    (checkpoint / COMPLETE).touch()
