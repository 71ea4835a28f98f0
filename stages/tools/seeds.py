"""Repeat the training over several seeds: `python -m stages.tools.seeds 13 14 15` (`make seeds`).

Each seed is a DVC experiment up to the evaluation.
"""

import sys

import pandas as pd

from stages.core.launch.atomic import atomic_file, write_text
from stages.core.launch.errors import InputError
from stages.core.launch.paths import EVALUATION, MACHINE, REPORTS, VARIANTS, spoken
from stages.core.measuring.conditions import commit
from stages.core.reporting.results import BASELINE, BEST
from stages.tools.experiments import experiment, json_of, table_of


def run(seeds: list[str]) -> None:
    """Write reports/seeds.csv, a row a seed and variant, and reports/seeds.md, its summary.

    Raises:
        InputError: there are fewer than two seeds, or the experiment of one fails.
    """
    if len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds = {seeds} have no spread; name two or more different ones")
    rows = []
    for seed in seeds:
        name = f"seed-{seed}"
        experiment(name, "--set-param", f"seed={seed}", "evaluate")
        rows += [
            {"seed": seed, "variant": variant, "accuracy": accuracy(variant, name)}
            for variant in VARIANTS
        ]
    table = pd.DataFrame(rows).assign(commit=commit())
    teacher = table[table["variant"] == BASELINE].set_index("seed")["accuracy"]
    table["retained"] = table["accuracy"] / table["seed"].map(teacher)
    machine = json_of(name, MACHINE)
    table["machine"] = f"{machine['cpu']} ({', '.join(machine['instruction_sets'])})"
    with atomic_file(REPORTS / "seeds.csv") as part:
        table.round(4).to_csv(part, index=False)
    write_text(REPORTS / "seeds.md", page(table))
    print(f"seeds: {REPORTS / 'seeds.md'}, over {len(seeds)} seeds")


def accuracy(variant: str, revision: str) -> float:
    """Return the test accuracy of a variant in an experiment."""
    predictions = table_of(revision, EVALUATION / variant / "predictions.parquet")
    test = predictions[predictions["split"] == "test"]
    return float((test["predicted"] == test["label"]).mean())


def page(table: pd.DataFrame) -> str:
    """Return seeds.md (columns seed, variant, accuracy, retained, commit, machine)."""
    groups = table.groupby("variant", sort=False)
    summary = pd.DataFrame(
        {
            f"{name.capitalize()}: mean ± sd (range)": groups[name].agg(
                lambda values: (
                    f"{values.mean():.1%} ± {values.std():.1%} "
                    f"({values.min():.1%}–{values.max():.1%})"
                )
            )
            for name in ("accuracy", "retained")
        }
    )
    summary.insert(0, "Variant", summary.index.map(spoken))
    seeds = ", ".join(dict.fromkeys(table["seed"]))
    best = table[table["variant"] == BEST]
    each = ", ".join(f"{row.retained:.1%} with {row.seed}" for row in best.itertuples())
    return f"""# Over several seeds

Test accuracy, and the share of the teacher's that is retained, when teacher and student are trained
with the seeds {seeds}. The split of the texts is the same for all. `make seeds` runs this; every
run's figures are in [seeds.csv](seeds.csv). The machine was {table["machine"].iloc[0]}; on another,
which rounds differently, the same seed trains another model. Code and settings are those of the
commit {table["commit"].iloc[0]}.

{summary.to_markdown(index=False, disable_numparse=True)}

{spoken(BEST).capitalize()} retains {each}.
"""


if __name__ == "__main__":
    try:
        run(sys.argv[1:])
    except InputError as error:
        sys.exit(f"seeds: {error}")
