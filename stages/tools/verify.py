"""Hold everything committed against dvc.lock: `python -m stages.tools.verify` (`make verify`).

Not a stage: it only reads. What is not here, as data/ in a fresh clone, is no mismatch; a report
that is missing is one.
"""

import json
import sys
from collections.abc import Iterator

import pandas as pd

from stages.core.launch.errors import InputError
from stages.core.launch.paths import REPORTS, check_root
from stages.report import metrics
from stages.tools.record import changed, damage, damaged_cache, recorded_outputs, recorded_stages

ROUNDING = 4.9e-5  # what results.csv, of four decimals, may have lost


def mismatches() -> list[str]:
    """Return a message for everything that is not as dvc.lock, or another report, says.

    Raises:
        InputError: dvc.lock is damaged.
    """
    stages = recorded_stages()
    outputs = recorded_outputs(stages)
    reports = [path for path in outputs if path.is_relative_to(REPORTS)]
    missing = [
        f"{path} is missing; make it with: dvc repro" for path in reports if not path.exists()
    ]
    damaged, cached = changed(outputs), damaged_cache()
    if damaged or cached:
        return [*missing, damage(damaged, cached)]
    if missing or "report" not in stages:
        return missing or ["dvc.lock records no reports; make them with: dvc repro"]
    return list(
        disagreements(stages["report"]["params"]["params.yaml"]["report"]["sla_percentile"])
    )


def disagreements(percentile: int) -> Iterator[str]:
    """Yield a message for every figure in metrics.json that results.csv does not round to."""
    table = pd.read_csv(REPORTS / "results.csv", index_col="variant")
    figures = table.select_dtypes("float")
    low, high = (
        flat(metrics(table.assign(**(figures + shift)), percentile))
        for shift in (-ROUNDING, ROUNDING)
    )
    stored = flat(json.loads((REPORTS / "metrics.json").read_text()))
    for name in sorted(stored.keys() | low.keys()):
        value = stored.get(name, float("nan"))
        if not low.get(name, float("nan")) <= value <= high.get(name, float("nan")):
            yield (
                f"{name} is {value} in metrics.json, but {low.get(name)} in results.csv; make both "
                "anew with: dvc repro --force --single-item report"
            )


def flat(values: dict, prefix: str = "") -> dict[str, float]:
    """Return the numbers in nested `values` under dotted names."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        inner = (
            flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
        numbers |= inner
    return numbers


if __name__ == "__main__":
    try:
        check_root()
        found = mismatches()
    except InputError as error:
        found = [str(error)]
    for message in found:
        print(f"verify: {message}", file=sys.stderr)
    if found:
        sys.exit(f"verify: {len(found)} mismatches")
    print("verify: everything here is as dvc.lock and the reports say")
