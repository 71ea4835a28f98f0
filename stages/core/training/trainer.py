"""How a classifier is trained: the same for the teacher and its student."""

import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import DatasetDict
from transformers import (
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from stages.core.launch.atomic import atomic_directory, atomic_file
from stages.core.launch.errors import InputError
from stages.core.launch.paths import CHECKPOINTS, CURVES
from stages.core.launch.processes import rank, world_size
from stages.core.launch.settings import TrainingConfig
from stages.core.serving.variant import Manifest, Variant
from stages.core.task.decoding import accuracy, predicted
from stages.core.training.averaging import WeightAverage
from stages.core.training.exchange import from_rank_zero, wait_for_all
from stages.core.training.positions import longest_text
from stages.core.training.resuming import last_checkpoint, run_key


def tokenize(corpus: DatasetDict, tokenizer: PreTrainedTokenizerBase) -> DatasetDict:
    """Return the train and the validation split as token ids, cut at the tokenizer's limit.

    They are unpadded. Padding adds the attention mask; token types are zeros, as by default.
    """
    more = dict.fromkeys(("return_attention_mask", "return_token_type_ids"), False)
    read = DatasetDict({split: corpus[split] for split in ("train", "validation")})
    return read.map(
        lambda batch: tokenizer(batch["text"], truncation=True, **more),
        batched=True,
        remove_columns=["text"],
        desc="tokenize",
    )


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: DatasetDict,
    config: TrainingConfig,
    *,
    section: str,
    seed: int,
    device: torch.device,
    bf16: bool,
    trainer_class: type[Trainer],
    **trainer_options: Any,
) -> pd.DataFrame:
    """Train `model` in place and leave it as it was after its best epoch by validation loss.

    The loss is the steadier criterion: on a thousand texts, chance alone changes the accuracy from
    epoch to epoch. The validated model is the moving average of the weights, not their last value.
    A run that is interrupted before `save_run` resumes after its last complete epoch and ends with
    the same weights.

    The corpus is tokenized; `config` holds the settings of `section`. Returned is a row per epoch:
    epoch, train_loss, validation_loss, validation_accuracy.

    Raises:
        InputError: the training diverged, or never had finite weights.
    """
    # Device and processes are in the key, because each draws other random numbers: a run that is
    # resumed on others would end with the weights of neither.
    where = (device.type, world_size())
    settings = (trainer_class.__qualname__, trainer_options, config.model_dump(), seed, bf16, where)
    checkpoints = CHECKPOINTS / from_rank_zero(lambda: run_key(model, corpus, *settings))
    last = from_rank_zero(lambda: last_checkpoint(checkpoints))
    if not checkpoints.exists():
        raise InputError(f"no {checkpoints} on this host; let all share the project's directory")
    trainer = trainer_class(
        model=model,
        args=_arguments(config, checkpoints, seed, device, bf16),
        train_dataset=corpus["train"],
        eval_dataset=corpus["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=_metrics,
        callbacks=[WeightAverage(config.average_decay), FiniteLoss(section), TimeEstimate(section)],
        **trainer_options,
    )
    if rank():
        set_seed(seed + rank())  # other dropout masks; rank zero has those of one process
    trainer.train(resume_from_checkpoint=last)
    wait_for_all()  # rank zero will remove what the others may still read
    return learning_curve(trainer.state.log_history)


def _arguments(
    config: TrainingConfig, directory: Path, seed: int, device: torch.device, bf16: bool
) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(directory),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=world_size() * max(1, 64 // world_size()),
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
        save_total_limit=2,  # the last one is sealed only after an older one is removed
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=False,
        report_to="none",
        use_cpu=device.type == "cpu",
        accelerator_config={"split_batches": True},  # batch_size is that of all processes
        remove_unused_columns=False,
    )
    # One GPU even where there are several, or the Trainer would multiply the batch.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    # With several processes the Trainer would choose cpu:<rank>, onto which nothing can be loaded.
    arguments._setup_devices = device
    return arguments


def _metrics(prediction: EvalPrediction) -> dict[str, float]:
    answers = predicted(prediction.predictions)
    return {"accuracy": float(accuracy(prediction.label_ids, answers))}


class FiniteLoss(TrainerCallback):
    """Stops a training at the first epoch with a non-finite validation loss."""

    def __init__(self, section: str) -> None:
        self.section = section

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **values: Any
    ) -> None:
        """Raise InputError unless the validation loss is finite; the Trainer saves after this."""
        loss = values["metrics"]["eval_loss"]
        if not math.isfinite(loss):
            raise InputError(
                f"{self.section}.learning_rate = {args.learning_rate}: the validation loss is "
                f"{loss} after epoch {state.epoch:.0f}; use a lower one, or, if that does not "
                "help, another model: its weights may not be finite"
            )


class TimeEstimate(TrainerCallback):
    """Says early how long a training will take."""

    STEPS = 50  # in which a sampler that groups by length gives long and short batches

    def __init__(self, section: str) -> None:
        self.section = section
        self.times: list[float] = []

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Print the estimate once."""
        self.times.append(time.perf_counter())
        if len(self.times) == self.STEPS:
            step = (self.times[-1] - self.times[0]) / (self.STEPS - 1)
            minutes = math.ceil(step * (state.max_steps - state.global_step) / 60)
            print(
                f"{self.section}: about {minutes} min to go ({state.max_steps} steps of "
                f"{args.train_batch_size} texts, {step:.1f} s each)",
                flush=True,
            )


def learning_curve(history: list[dict[str, float]]) -> pd.DataFrame:
    """Return a Trainer's log as one row per epoch."""
    names = {
        "loss": "train_loss",
        "eval_loss": "validation_loss",
        "eval_accuracy": "validation_accuracy",
    }
    log = pd.DataFrame(history, columns=["epoch", *names])
    return log.groupby("epoch").first().rename(columns=names).reset_index()


def kept_accuracy(curve: pd.DataFrame) -> float:
    """Return the validation accuracy of the epoch whose weights `train` kept."""
    return float(curve.loc[curve["validation_loss"].idxmin(), "validation_accuracy"])


def save_run(
    role: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, curve: pd.DataFrame
) -> Path:
    """Write a role's PyTorch variant and its learning curve; return the variant's directory.

    Then remove the checkpoints of its training. Rank zero does so for all processes.
    """
    directory = Variant(role, "pytorch").directory
    if rank() == 0:
        with atomic_directory(directory) as part:
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
            Manifest("pytorch", "PyTorch", longest_text(model.config)).write(part)
        with atomic_file(CURVES[role]) as part:
            curve.round(4).to_csv(part, index=False)
        shutil.rmtree(CHECKPOINTS, ignore_errors=True)
    return directory
