"""The whole config, so that the first stage to run refuses what a later one would.

A module of its own, because the schemas lie beside the stages that they are for, whose imports
take seconds.
"""

from contextlib import suppress

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic.dataclasses import dataclass

from stages.benchmark import BenchmarkConfig
from stages.core.config import STRICT, DataConfig, ModelConfig, Seed, parse
from stages.core.errors import InputError
from stages.core.student import StudentConfig
from stages.distill import DistillConfig
from stages.evaluate import EvaluateConfig
from stages.export import ExportConfig
from stages.fetch import Item
from stages.finetune import FinetuneConfig
from stages.profiling import ProfileConfig
from stages.quantize import QuantizeConfig
from stages.release import ReleaseConfig
from stages.report import ReportConfig

# What the command of a stage sets for its one run; any value will do.
SELECTORS = {
    ("fetch", "item"): "encoder",
    ("export", "model"): "teacher",
    ("quantize", "model"): "teacher",
    ("evaluate", "variant"): "teacher_pytorch",
}


@dataclass(config=STRICT)
class Settings:
    """Every section."""

    seed: Seed
    fetch: Item
    model: ModelConfig
    data: DataConfig
    finetune: FinetuneConfig
    distill: DistillConfig
    student: StudentConfig
    quantize: QuantizeConfig
    export: ExportConfig
    evaluate: EvaluateConfig
    benchmark: BenchmarkConfig
    profile: ProfileConfig
    report: ReportConfig
    release: ReleaseConfig


def check(config: DictConfig) -> None:
    """Raise InputError unless every section of `config` is valid and known."""
    unknown = [str(name) for name in config if name not in Settings.__dataclass_fields__]
    if unknown:
        raise InputError(f"{unknown[0]} is not a known setting")
    config = config.copy()
    for (section, name), value in SELECTORS.items():
        with suppress(OmegaConfBaseException):  # of which parse tells
            if OmegaConf.is_dict(config[section]) and OmegaConf.is_missing(config[section], name):
                config[section][name] = value
    parse(config, Settings)
