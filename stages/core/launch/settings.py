"""Every setting: its type, its range, and how settings constrain each other.

Apart from the stages, whose libraries take seconds to import, so that the first stage to run
refuses at once the settings that a later one would.
"""

import json
from importlib import import_module
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PlainValidator,
    PositiveFloat,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import DataConfig, LocalPath, ModelConfig
from stages.core.launch.parse import Count, Section, Seed, Share, Text, describe, not_set

Form = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class RunConfig(Section):
    """What one run of a stage works on, given on its command line."""

    item: Literal["encoder", "corpus"] | None
    model: Literal["teacher", "student"] | None
    form: Text | None

    def required(self, key: Literal["item", "model", "form"]) -> str:
        """Return a value that this command can't run without."""
        value: str | None = getattr(self, key)
        if value is None:
            raise InputError(not_set(f"run.{key}"))
        return value


class TrainingConfig(Section):
    """Settings of one training run."""

    epochs: NonNegativeInt
    batch_size: Count
    learning_rate: PositiveFloat
    warmup_ratio: Share
    weight_decay: NonNegativeFloat
    average_decay: Share
    class_weights: Literal["balanced"] | None


class FinetuneConfig(TrainingConfig):
    """Settings of the fine-tuning."""

    consistency_weight: NonNegativeFloat


class DistillConfig(TrainingConfig):
    """Settings of the distillation."""

    epochs: Count
    temperature: PositiveFloat
    label_weight: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _weights_something(self) -> Self:
        if self.class_weights and not self.label_weight:
            raise ValueError("class_weights weigh the true labels; raise label_weight above 0")
        return self


class AugmentConfig(Section):
    """How many texts are made for the teacher to label."""

    clauses: bool
    spans: NonNegativeInt
    joined: NonNegativeInt


class StudentConfig(Section):
    """The student's shape and initialisation; null stands for that of the source of its weights."""

    family: Literal["own", "distilbert"]
    n_layers: Count | None
    dim: Count | None
    n_heads: Count | None
    hidden_dim: Count | None
    dropout: Share
    init: Literal["teacher", "encoder", "checkpoint", "scratch"]
    checkpoint: LocalPath
    teacher_layers: Literal["first", "even"] | list[NonNegativeInt]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_layers is None and self.init != "checkpoint":
            raise ValueError(f"n_layers is null, but init = {self.init!r} needs a number; give one")
        if self.family == "distilbert" and self.init != "scratch":
            raise ValueError(
                f"family = 'distilbert', but init = {self.init!r} copies layers, which "
                "stay in their own class; use family=own or init=scratch"
            )
        named = isinstance(self.teacher_layers, list)
        if named and len(self.teacher_layers) != self.n_layers:
            raise ValueError(f"teacher_layers must name n_layers = {self.n_layers} layers")
        return self


class ExportConfig(Section):
    """Settings of the export."""

    optimize: bool
    tolerance: PositiveFloat


class Quantization(Section):
    """How one quantized form is made: by which engine, with that engine's own options."""

    engine: Text
    title: Text
    options: Any


# Samples that a percentile takes, without which it is not reported: ten beyond a tail.
CALLS_NEEDED = {50: 1, 95: 200, 99: 1000}
COMMON = {"engine", "title"}  # keys of every engine's section


def _quantization(section: Any) -> Quantization:
    if not isinstance(section, dict) or not all(section.get(key) for key in COMMON):
        raise ValueError("a section with engine and title is needed")
    # Imported by name: engines are a layer above settings; each has the schema of its options.
    engine = import_module("stages.core.engines").load_engine(section["engine"])
    schema = TypeAdapter(dataclass(config=Section.model_config)(engine.Options))
    try:
        options = {key: value for key, value in section.items() if key not in COMMON}
        parsed = schema.validate_json(json.dumps(options))
        return Quantization(engine=section["engine"], title=section["title"], options=parsed)
    except ValidationError as error:
        raise ValueError(describe(error)) from error


Quantizations = dict[Form, Annotated[Any, PlainValidator(_quantization)]]


class SweepConfig(Section):
    """Settings of the sweep over text length and batch size."""

    rounds: Count
    seconds: NonNegativeFloat
    warmup: NonNegativeInt
    lengths: Annotated[list[Annotated[int, Field(ge=3)]], Field(min_length=1)]
    batch_sizes: Annotated[list[Count], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 1 not in self.batch_sizes:
            raise ValueError("batch_sizes lacks 1, the single text; add it")
        return self


CONTROL = "control"  # the name under which one variant is measured a second time


class BenchmarkConfig(Section):
    """Settings of the benchmark."""

    threads: Count
    rounds: Annotated[int, Field(ge=6)]  # fewer give no 95% interval of a median
    calls: Count
    tail_calls: Count
    seconds: NonNegativeFloat
    warmup: NonNegativeInt
    control: Text
    sweep: SweepConfig


class LoadConfig(Section):
    """Settings of the load test."""

    seconds: PositiveFloat
    batch: Annotated[int, Field(ge=2)]
    wait_ms: NonNegativeFloat


class ProfileConfig(Section):
    """Settings of the profiler."""

    texts: Count


class ReportConfig(Section):
    """The constraints that a recommended variant meets."""

    sla_ms: PositiveFloat
    sla_percentile: Literal[50, 95, 99]
    quality: Annotated[str, Field(pattern=r"^(accuracy|macro_f1|recall_.+)$")]
    quality_loss: Share
    requests_per_second: PositiveFloat | None

    @property
    def quality_name(self) -> str:
        """The quality for people, in which a class keeps its underscores."""
        return self.quality.replace("_", " ", 1)


class ReleaseConfig(Section):
    """Which variant is released: a name, or the recommended one."""

    variant: Text


class Settings(Section):
    """Every section."""

    seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    bf16: Literal["auto", "on", "off"]
    processes: Count
    run: RunConfig
    model: ModelConfig
    data: DataConfig
    finetune: FinetuneConfig
    augment: AugmentConfig
    distill: DistillConfig
    student: StudentConfig
    forms: Annotated[list[Form], Field(min_length=1)]
    export: ExportConfig
    quantize: Quantizations
    benchmark: BenchmarkConfig
    load: LoadConfig
    profile: ProfileConfig
    report: ReportConfig
    release: ReleaseConfig

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("finetune", "distill"):
            size = getattr(self, name).batch_size
            if size % self.processes:
                raise ValueError(
                    f"{name}.batch_size = {size} is not a multiple of processes = "
                    f"{self.processes}; use one that is"
                )
        made = {"pytorch", "onnx", *self.quantize}
        if len(set(self.forms)) < len(self.forms):
            raise ValueError(f"forms = {self.forms} has a name twice")
        if "pytorch" not in self.forms:
            raise ValueError(f"forms = {self.forms} lacks pytorch, the baseline of every speed-up")
        for form in (each for each in self.forms if each not in made):
            raise ValueError(
                f"forms has {form!r}, but quantize.{form} is not set; add it, or take it out"
            )
        for form in (each for each in self.quantize if each not in self.forms):
            raise ValueError(
                f"quantize.{form} is set, but forms = {self.forms} lacks it; add it, or take it out"
            )
        names = {f"{model}_{form}" for model in ("teacher", "student") for form in self.forms}
        for key, name, known in (
            ("benchmark.control", self.benchmark.control, names),
            ("release.variant", self.release.variant, names | {"recommended"}),
        ):
            if name not in known:
                choices = ", ".join(sorted(known))
                raise ValueError(f"{key} = {name!r} is unknown; use one of {choices}")
        percentile = self.report.sla_percentile
        calls = self.benchmark.rounds * max(self.benchmark.calls, self.benchmark.tail_calls)
        if calls < (needed := CALLS_NEEDED[percentile]):
            raise ValueError(
                f"report.sla_percentile = {percentile} needs {needed} calls, but "
                f"benchmark.rounds × benchmark.tail_calls = {calls}; raise these, or lower that"
            )
        if self.run.form is not None and self.run.form not in self.forms:
            raise ValueError(f"run.form = {self.run.form!r} is not one of forms = {self.forms}")
        return self
