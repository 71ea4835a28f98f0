"""Made-up measurements and predictions, and the table of results that follows from them."""

from itertools import product

import numpy as np
import pandas as pd

from stages.core.launch.settings import CONTROL
from stages.core.reporting.results import accuracies, capacities, latencies
from stages.core.serving.variant import variants

FORMS = ["pytorch", "onnx", "int8", "int8_per_tensor"]
NAMES = [variant.name for variant in variants(FORMS)]
MS = dict(zip(NAMES, (60.0, 30.0, 12.0, 11.0, 20.0, 10.0, 3.0, 2.5), strict=True))


def samples(ms: dict[str, float], calls: int = 20, rounds: int = 2) -> pd.DataFrame:
    """Return single requests of constant latency; the control takes as long as student_int8."""
    ms = ms | {CONTROL: ms.get(CONTROL, ms["student_int8"])}
    keys = product(ms, ("post", "test"), ("model", "label"), range(rounds))
    table = pd.DataFrame(
        [
            {"variant": name, "workload": workload, "quantity": quantity, "round": number}
            | {"ms": ms[name], "peak_mb": 100.0}
            for name, workload, quantity, number in keys
            for _ in range(calls // rounds)
        ]
    )
    return table.assign(variant=pd.Categorical(table["variant"], [*ms]))


UNDISTURBED = {"others_share": 0.0, "stolen_share": 0.0, "throttled_periods": 0}


def load(ms: dict[str, float]) -> pd.DataFrame:
    """Return trials and replays of variants that sustain half of their rate within 50 ms."""
    columns = ["variant", "batch", "scenario", "rate", "low", "high", "requests", "ms", "http"]
    rows: list[tuple] = []
    for name, each in ms.items():
        most = 1e3 / each
        rows += [(name, 8, "Offline", most, None, None, 99, 999.0, False)]
        rows += [
            (name, 1, "Replay", most * share, None, None, 999, each / share, False)
            for share in (0.5, 0.75)
        ]
        if each <= 50:
            met = (most / 2, most / 4, most * 3 / 4, 99, 20.0)
            rows += [(name, batch, "Server", *met, False) for batch in (1, 8)]
    fastest = min(ms, key=lambda name: ms[name])
    rows += [(fastest, 1, "SingleStream", 100.0, None, None, 99, 10.0, True)]
    rows += [(fastest, 1, "Server", 80.0, 70.0, 90.0, 99, 40.0, True)]
    return pd.DataFrame(rows, columns=columns).assign(**UNDISTURBED)


def predictions(wrong: int, texts: int = 20) -> pd.DataFrame:
    """Return answers of which the first `wrong` are wrong, the earlier the surer."""
    labels = np.arange(texts) % 2
    answers = np.where(np.arange(texts) < wrong, 1 - labels, labels)
    sure = np.linspace(4, 1, texts)
    return pd.DataFrame(
        {
            "text": [f"text {number}" for number in range(texts)],
            "label": labels,
            "predicted": answers,
            "logit_bad": np.where(answers == 0, sure, 0),
            "logit_good": np.where(answers == 1, sure, 0),
        }
    )


def results(
    ms: dict[str, float] = MS, wrong: int = 2, recommended: str | None = "student_int8"
) -> pd.DataFrame:
    """Return results in which every student gets `wrong` texts wrong, the teacher one."""
    found = {name: predictions(wrong if name.startswith("student") else 1) for name in ms}
    artefacts = pd.DataFrame(
        {"label": "BERT 6×384", "parameters": 22_700_000, "size_mb": 92.0},
        index=pd.Index([*ms], name="variant"),
    )
    artefacts.loc["student_int8", ["parameters", "size_mb"]] = 17_400_000, 18.4
    judged = accuracies(found, found, "accuracy")
    measured = [latencies(samples(ms), 0.0), capacities(load(ms))]
    table = pd.concat([artefacts, judged, *measured], axis=1)
    table[["test_texts", "validation_texts"]] = 500
    reasons = {name: "recommended" if name == recommended else "qualifies" for name in ms}
    return table.assign(recommended=table.index == recommended, verdict=pd.Series(reasons))
