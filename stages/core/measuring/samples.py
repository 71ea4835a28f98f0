"""The benchmark's timed calls."""

import pandas as pd

from stages.core.launch.errors import InputError
from stages.core.launch.paths import BENCHMARK, existing
from stages.core.launch.settings import CONTROL


def load_samples(names: list[str]) -> pd.DataFrame:
    """Return all timed calls (columns of `rounds.measure`), with variants in the order of `names`.

    Raises:
        InputError: they are not of exactly these variants and the control.
    """
    file = existing(BENCHMARK) / "samples.parquet"
    samples = pd.read_parquet(file)
    found = samples["variant"].astype(str)  # categories in another order would compare as equal
    check_variants(str(file), found, [*names, CONTROL])
    return samples.assign(variant=pd.Categorical(found, [*names, CONTROL]))


def check_variants(file: str, found: pd.Series, names: list[str]) -> None:
    """Raise InputError unless a file's column of variants holds exactly these names."""
    if odd := {*found.unique()} ^ {*names}:
        raise InputError(
            f"{file} and the setting forms differ in {', '.join(sorted(odd))}; measure the "
            f"variants again with: dvc repro"
        )


def of_measure(samples: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the samples of a workload and a quantity, such as test_label (`rounds.Cell`)."""
    workload, quantity = measure.split("_")
    return samples[(samples["workload"] == workload) & (samples["quantity"] == quantity)]
