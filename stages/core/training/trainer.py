"""How a classifier is trained: the same for the teacher and its student."""

import hashlib
import inspect
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import transformers
from datasets import DatasetDict
from datasets.fingerprint import Hasher
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from stages.core.launch.atomic import atomic_directory, atomic_file, write_text
from stages.core.launch.errors import InputError
from stages.core.launch.paths import CHECKPOINTS
from stages.core.launch.settings import TrainingConfig

# In a checkpoint, beside what the Trainer writes: the weights before averaging, and the digest of
# every file, which is written last.
WEIGHTS, DIGESTS = "weights.safetensors", "SHA256SUMS"


def cpu_has_bf16() -> bool:
    """Tell whether this CPU has bfloat16 instructions, rather than PyTorch emulating them."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def bf16_wanted(setting: str) -> bool:
    """Tell whether to train under bfloat16 autocast.

    Raises:
        InputError: it is demanded of a CPU without such instructions, where it is far slower.
    """
    supported = cpu_has_bf16()
    if setting == "on" and not supported:
        raise InputError("bf16 = on, but this CPU has no bfloat16 instructions; use auto or off")
    return setting != "off" and supported


def tokenize(
    corpus: DatasetDict, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> DatasetDict:
    """Add input_ids and attention_mask, unpadded and cut at `max_length` tokens, to every split."""
    return corpus.map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=max_length),
        batched=True,
        remove_columns=["text"],
    )


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: DatasetDict,
    config: TrainingConfig,
    *,
    seed: int,
    trainer_class: type[Trainer] = Trainer,
    **trainer_options: Any,
) -> pd.DataFrame:
    """Train `model` in place and leave it as it was after its best epoch by validation loss.

    On a thousand texts the accuracy of two epochs differs by chance; the loss is steadier.
    What is validated and left is the moving average of the weights, not their last value. A run
    that was killed before `save_run` continues after its last whole epoch, to the same weights.

    Args:
        model: a sequence classifier.
        tokenizer: its tokenizer; batches are padded to their longest text.
        corpus: tokenized splits; train and validation are read.
        config: the settings.
        seed: of dropout and of the order of the batches.
        trainer_class: a Trainer with another loss.
        trainer_options: what that Trainer wants besides.

    Returns:
        One row an epoch: epoch, train_loss, validation_loss, validation_accuracy.
    """
    bf16 = bf16_wanted(config.bf16)
    checkpoints = CHECKPOINTS / run_key(
        model, corpus, trainer_class, asdict(config), seed, bf16, trainer_options
    )
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=64,
        learning_rate=config.learning_rate,
        warmup_ratio=config.warmup_ratio,
        weight_decay=config.weight_decay,
        bf16=bf16,
        seed=seed,
        data_seed=seed,
        group_by_length=True,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=False,
        report_to="none",
        use_cpu=True,
        remove_unused_columns=False,
    )
    trainer = trainer_class(
        model=model,
        args=arguments,
        train_dataset=corpus["train"],
        eval_dataset=corpus["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=accuracy,
        callbacks=[WeightAverage(config.average_decay)],
        **trainer_options,
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    return learning_curve(trainer.state.log_history)


def run_key(model: PreTrainedModel, corpus: DatasetDict, *settings: Any) -> str:
    """Return a hash of all that decides what a run trains: never continue with another's weights.

    Args:
        model: before its first step.
        corpus: tokenized splits.
        settings: what else there is; a class stands for its module's source.
    """
    sources = [
        inspect.getsource(inspect.getmodule(value) or value) if inspect.isclass(value) else value
        for value in (WeightAverage, *settings)
    ]
    texts = {name: split.to_dict() for name, split in corpus.items()}
    versions = (torch.__version__, transformers.__version__, torch.get_num_threads())
    return Hasher.hash((model.config.to_dict(), model.state_dict(), texts, sources, versions))


def last_checkpoint(directory: Path) -> str | None:
    """Return a run's last complete checkpoint; remove incomplete ones, and those of other runs."""
    directory.mkdir(parents=True, exist_ok=True)
    complete = {path for path in directory.glob("checkpoint-*") if is_complete(path)}
    for path in {*directory.parent.iterdir(), *directory.iterdir()} - {directory, *complete}:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not complete:
        return None
    last = max(complete, key=lambda path: int(path.name.split("-")[1]))
    print(f"continuing after {last.name.replace('-', ' ')} of a run that was cut off", flush=True)
    return str(last)


def is_complete(checkpoint: Path) -> bool:
    """Tell whether all files of a checkpoint are there, and as they were written."""
    file = checkpoint / DIGESTS
    return file.exists() and file.read_text() == digests(checkpoint)


def digests(checkpoint: Path) -> str:
    """Return a line for every file in a checkpoint, with its SHA-256, as sha256sum writes it."""
    files = [file for file in sorted(checkpoint.iterdir()) if file.name != DIGESTS]
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    return "".join(lines)


class WeightAverage(TrainerCallback):
    """Puts the exponential moving average of the weights into the model between epochs.

    There it is validated and saved; training goes on from the weights themselves, which are saved
    beside it. The average is the more accurate of the two (Polyak & Juditsky, 1992).
    """

    def __init__(self, decay: float) -> None:
        self.average_function = get_ema_multi_avg_fn(decay)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        *_: Any,
        model: PreTrainedModel,
        **__: Any,
    ) -> None:
        """Start the average at the first weights, or where a checkpoint left both."""
        self.average = AveragedModel(model, multi_avg_fn=self.average_function)
        self.weights: dict[str, torch.Tensor] = {}
        if state.global_step:
            self.average.n_averaged.fill_(state.global_step)
            self.weights = load_file(weights_file(args, state))

    def on_step_end(self, *_: Any, model: PreTrainedModel, **__: Any) -> None:
        """Take the new weights into the average."""
        self.average.update_parameters(model)

    def on_epoch_end(self, *_: Any, model: PreTrainedModel, **__: Any) -> None:
        """Show the average to validation and saving."""
        self.weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self.average.module.state_dict())

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Save the weights themselves, then the digests, with which the checkpoint is complete."""
        file = weights_file(args, state)
        save_file(self.weights, file)
        write_text(file.parent / DIGESTS, digests(file.parent))

    def on_epoch_begin(self, *_: Any, model: PreTrainedModel, **__: Any) -> None:
        """Go on with the weights themselves."""
        if self.weights:
            model.load_state_dict(self.weights)


def weights_file(args: TrainingArguments, state: TrainerState) -> Path:
    """Return where the weights before averaging lie in the checkpoint of this step."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / WEIGHTS


def accuracy(prediction: Any) -> dict[str, float]:
    """Return the share of texts whose largest logit is their label's."""
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def learning_curve(history: list[dict[str, float]]) -> pd.DataFrame:
    """Return a Trainer's log as one row an epoch."""
    names = {
        "loss": "train_loss",
        "eval_loss": "validation_loss",
        "eval_accuracy": "validation_accuracy",
    }
    log = pd.DataFrame(history).groupby("epoch").first()
    return log[list(names)].rename(columns=names).round(4).reset_index()


def kept_accuracy(curve: pd.DataFrame) -> float:
    """Return the validation accuracy of the epoch that `train` left."""
    return float(curve.loc[curve["validation_loss"].idxmin(), "validation_accuracy"])


def save_run(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    curve: pd.DataFrame,
    directory: Path,
    curve_file: Path,
) -> None:
    """Write a trained model and its learning curve, each whole; forget where it would continue.

    Args:
        model: goes with the tokenizer into `directory`, its weights as safetensors.
        tokenizer: the model's.
        curve: goes into `curve_file`, as csv.
        directory: of the checkpoint.
        curve_file: of the learning curve.
    """
    with atomic_directory(directory) as part:
        model.save_pretrained(part, safe_serialization=True)
        tokenizer.save_pretrained(part)
    with atomic_file(curve_file) as part:
        curve.to_csv(part, index=False)
    shutil.rmtree(CHECKPOINTS, ignore_errors=True)
