"""What the samples and the predictions say: every figure of the report is computed here."""

import json

import pandas as pd

from stages.core.engines.variant import label, parameters, size_mb
from stages.core.launch.paths import BENCHMARK, CONTROL, EVALUATION, VARIANTS, spoken
from stages.core.reporting.accuracy import compare, score
from stages.core.reporting.latency import Estimate, speedup, summarise

BASELINE, ONNX_BASELINE, BEST = "teacher_pytorch", "teacher_onnx", "student_int8"
SLA_LATENCY = "test_label_p{}_ms"  # what a caller waits for
MEASURES = {  # what single requests are timed for: workload and quantity
    "post_model": "post's sentence, model only",
    "post_label": "post's sentence, text to label",
    "test_model": "test sentences, model only",
    "test_label": "test sentences, text to label",
}


def variants(samples: pd.DataFrame, noise: float) -> pd.DataFrame:
    """Return a row a variant, with everything that is known of it.

    Args:
        samples: `load_samples`.
        noise: by what share two measurements of one artefact differ; widens the intervals
            of speed-ups, because a bootstrap over rounds doesn't see how processes differ.
    """
    return pd.concat([artefacts(), accuracies(), latencies(samples, noise)], axis=1)


def load_samples() -> pd.DataFrame:
    """Return all timed calls, with the columns that `benchmark.measure` gives them."""
    samples = pd.read_parquet(BENCHMARK / "samples.parquet")
    # From strings, because to pandas the same categories in another order are the same.
    names = samples["variant"].astype(str)
    samples["variant"] = pd.Categorical(names, (*VARIANTS, CONTROL))
    return samples


def of_measure(samples: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the samples of one of `MEASURES`."""
    workload, quantity = measure.split("_")
    return samples[(samples["workload"] == workload) & (samples["quantity"] == quantity)]


def load_predictions(variant: str, split: str) -> pd.DataFrame:
    """Return a variant's predictions of one split: label, predicted, and a logit_ each class."""
    predictions = pd.read_parquet(EVALUATION / variant / "predictions.parquet")
    return predictions[predictions["split"] == split].reset_index(drop=True)


def accuracies() -> pd.DataFrame:
    """Return a row a variant: how good its predictions are, of test texts but for validation_….

    Shares are from 0 to 1. An interval's ends are in the columns …_low and …_high.
    """
    teacher, teacher_validation = (
        load_predictions(BASELINE, split) for split in ("test", "validation")
    )
    rows = {}
    for variant in VARIANTS:
        predictions, validation = (
            load_predictions(variant, name) for name in ("test", "validation")
        )
        scores, comparison = score(predictions), compare(predictions, teacher)
        rows[variant] = {
            "test_texts": scores.texts,
            **spread("accuracy", scores.accuracy),
            **spread("macro_f1", scores.macro_f1),
            **{f"recall_{name}": value for name, value in scores.recall.items()},
            "brier": scores.brier,
            **spread("accuracy_retained", comparison.retained),
            "agreement": comparison.agreement,
            "better": comparison.better,
            "worse": comparison.worse,
            "p_value": comparison.p_value,
            "validation_accuracy": float((validation["predicted"] == validation["label"]).mean()),
            **spread("validation_retained", compare(validation, teacher_validation).retained),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def latencies(samples: pd.DataFrame, noise: float) -> pd.DataFrame:
    """Return a row a variant: what single requests take, in ms, and its process's memory, in MB.

    `post_…` is of the post's sentence, `test_…` of test sentences; `…_model_…` from token ids to
    logits, `…_label_…` from text to label. A `…_speedup` is against the teacher in PyTorch, a
    `…_speedup_onnx` against the teacher in ONNX.
    """
    rows: dict[str, dict[str, float]] = {variant: {"peak_mb": 0} for variant in VARIANTS}
    for measure in MEASURES:
        measured = of_measure(samples, measure)
        fewest = measured.groupby("variant", observed=True).size().min()
        for variant, row in rows.items():
            ours = measured[measured["variant"] == variant]
            statistics = summarise(ours, fewest)
            row["peak_mb"] = max(row["peak_mb"], ours["peak_mb"].max())
            row |= {f"{measure}_{name}_ms": value for name, value in statistics.items()}
            for column, baseline in ("speedup", BASELINE), ("speedup_onnx", ONNX_BASELINE):
                estimate = speedup(measured, variant, baseline)
                same = variant == baseline
                row |= spread(f"{measure}_{column}", estimate.widened(0 if same else noise))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def control(samples: pd.DataFrame, twin: str) -> dict[str, Estimate]:
    """Return for each of `MEASURES` how many times faster the control is than its twin."""
    return {measure: speedup(of_measure(samples, measure), CONTROL, twin) for measure in MEASURES}


def artefacts() -> pd.DataFrame:
    """Return a row a variant: what it is called, its size, and how it starts."""
    loading = json.loads((BENCHMARK / "workers.json").read_text())
    rows = {
        variant: {
            "label": label(variant),
            "parameters": parameters(variant),
            "size_mb": size_mb(variant),
            "load_ms": loading[variant]["load_ms"],
            "first_call_ms": loading[variant]["first_call_ms"],
        }
        for variant in VARIANTS
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def sweep(samples: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each variant, text length (0: each text's own) and batch size.

    Columns: ms, of one batch (median at exact lengths, else mean); texts_per_second; padding, the
    share of the tokens that is padding; calls.
    """
    swept = samples[samples["workload"].isin(["length", "batch"])]
    rows = []
    for key, calls in swept.groupby(["variant", "length", "batch"], observed=True):
        exact = key[1] > 0
        ms = calls["ms"].median() if exact else calls["ms"].mean()
        rows.append(
            (*key, ms, 1e3 * calls["texts"].mean() / ms, calls["padding"].mean(), len(calls))
        )
    columns = ["variant", "length", "batch", "ms", "texts_per_second", "padding", "calls"]
    return pd.DataFrame(rows, columns=columns)


def bottleneck(profile: pd.DataFrame, variant: str) -> str:
    """Return one sentence on where a variant's time goes (columns variant, kind, ms)."""
    kinds = profile[profile["variant"] == variant].groupby("kind")["ms"].sum()
    shares = (kinds / kinds.sum()).nlargest(3)
    first, *others = (f"{kind} {share:.0%}" for kind, share in shares.items())
    return f"{spoken(variant)}: {first} of the time, then {', '.join(others)}"


def spread(name: str, estimate: Estimate) -> dict[str, float]:
    """Return an estimate as three columns."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def gathered(row: pd.Series, name: str) -> Estimate:
    """Return the estimate that `spread` made three columns of."""
    return Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])
