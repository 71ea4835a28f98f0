"""Resuming an interrupted training: whose checkpoints they are, and which of them are complete."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import DatasetDict
from transformers import PreTrainedModel

BATCH = 10_000  # texts
COMPLETE = "complete"  # the file that is written last into a checkpoint


def run_key(model: PreTrainedModel, corpus: DatasetDict, *settings: Any) -> str:
    """Return a hash of a run's inputs: only a run with the same key resumes its checkpoints.

    It does not notice changed code: a run that is interrupted before a change to the loss, the
    averaging or the trainer resumes after it. Remove data/checkpoints to start again.
    """
    versions = (torch.__version__, transformers.__version__, torch.get_num_threads())
    config = model.config.to_dict() | {"_name_or_path": None}  # which may be temporary
    digest = hashlib.sha256(repr((config, settings, versions)).encode())
    for name, weights in model.state_dict().items():
        digest.update(name.encode())
        digest.update(weights.reshape(-1).contiguous().view(torch.uint8).numpy())
    for name, split in corpus.items():
        digest.update(repr((name, split.features)).encode())
        for table in split.with_format("arrow").iter(BATCH):
            for batch in table.combine_chunks().to_batches():
                digest.update(batch.serialize())
    return digest.hexdigest()


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
