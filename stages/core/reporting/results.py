"""The report's numbers, computed from samples, predictions and artefacts."""

import math

import pandas as pd
from safetensors import safe_open
from transformers import AutoConfig

from stages.core.launch.paths import EVALUATION
from stages.core.launch.settings import CONTROL
from stages.core.measuring.samples import of_measure
from stages.core.reporting.accuracy import compare, judged, retained, score
from stages.core.reporting.estimate import Estimate
from stages.core.reporting.latency import speedup, summarise
from stages.core.serving.variant import Manifest, Variant

BASELINE = Variant("teacher", "pytorch").name
SLA_LATENCY = "test_label_p{}_ms"  # the time that a caller waits
SPEED = "test_label_speedup"  # ranks variants
HEADLINE_SPEED = "post_model_speedup"  # as the post measures
MEASURES = {  # of single requests: workload and quantity
    "post_model": "post's sentence, model only",
    "post_label": "post's sentence, text to label",
    "test_model": "test sentences, model only",
    "test_label": "test sentences, text to label",
}


def load_predictions(names: list[str], split: str) -> dict[str, pd.DataFrame]:
    """Return each variant's predictions of a split (columns of `stages.evaluate`)."""
    files = {name: EVALUATION / name / "predictions.parquet" for name in names}
    wanted = [("split", "==", split)]
    return {name: pd.read_parquet(file, filters=wanted) for name, file in files.items()}


def accuracies(
    test: dict[str, pd.DataFrame], validation: dict[str, pd.DataFrame], measure: str
) -> pd.DataFrame:
    """Return one row per variant: scores on the test split, and validation_… on that split.

    The latter are judged by `measure`, see `metrics.quality`. Shares are from 0 to 1. The ends of
    an interval are in the columns …_low and …_high.
    """
    rows = {
        name: {
            "test_texts": len(test[name]),
            **score(test[name]),
            **retained(test[name], test[BASELINE]).columns("accuracy_retained"),
            **compare(test[name], test[BASELINE]),
            **judged(validation[name], validation[BASELINE], measure),
        }
        for name in test
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def latencies(samples: pd.DataFrame, noise: float) -> pd.DataFrame:
    """Return one row per variant: latencies of single requests in ms, peak memory in MB.

    Columns `post_…` are of the post's sentence, `test_…` of test sentences; `…_model_…` from token
    ids to logits, `…_label_…` from text to label. A `…_speedup` is over the teacher in PyTorch. The
    noise, the share by which two measurements of one artefact differ, widens the intervals of
    speed-ups: a bootstrap over rounds doesn't see how processes differ.
    """
    names = [name for name in samples["variant"].cat.categories if name != CONTROL]
    peaks = samples[samples["workload"].isin(["post", "test"])].groupby("variant")["peak_mb"].max()
    rows: dict[str, dict[str, float]] = {name: {"peak_mb": float(peaks[name])} for name in names}
    for measure in MEASURES:
        measured = of_measure(samples, measure)
        fewest = measured.groupby("variant").size().min()
        for name, row in rows.items():
            ours = measured[measured["variant"] == name]
            statistics = summarise(ours, fewest)
            row |= {f"{measure}_{statistic}_ms": ms for statistic, ms in statistics.items()}
            estimate = speedup(measured, name, BASELINE).widened(noise * (name != BASELINE))
            row |= estimate.columns(f"{measure}_speedup")
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def control(samples: pd.DataFrame, twin: str) -> dict[str, Estimate]:
    """Return for each of `MEASURES` how many times faster the control is than its twin."""
    return {measure: speedup(of_measure(samples, measure), CONTROL, twin) for measure in MEASURES}


def artefacts(served: list[Variant]) -> pd.DataFrame:
    """Return one row per variant: its description and its size."""
    rows = {
        variant.name: {
            "label": architecture(variant),
            "parameters": parameters(variant),
            "size_mb": size_mb(variant),
        }
        for variant in served
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def architecture(variant: Variant) -> str:
    """Return a description such as `BERT 6×384, ONNX INT8` (layers × width)."""
    config = AutoConfig.from_pretrained(variant.directory)
    family = type(config).__name__.removesuffix("Config").replace("Bert", "BERT")
    shape = f"{config.num_hidden_layers}×{config.hidden_size}"
    return f"{family} {shape}, {Manifest.read(variant.directory).title}"


def parameters(variant: Variant) -> int:
    """Return the number of parameters of a variant's model; export and INT8 don't change it."""
    total = 0
    for file in Variant(variant.model, "pytorch").directory.glob("*.safetensors"):
        with safe_open(file, "np") as weights:
            shapes = [weights.get_slice(key).get_shape() for key in weights.keys()]  # noqa: SIM118
            total += sum(math.prod(shape) for shape in shapes)
    return total


def size_mb(variant: Variant) -> float:
    """Return the size of a variant's directory in MB, tokenizer included."""
    return sum(file.stat().st_size for file in variant.directory.iterdir() if file.is_file()) / 1e6


def sweep(samples: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each variant, text length (0: each text's own) and batch size.

    Columns: ms a batch (the median at exact lengths, else the mean); texts_per_second; padding, as
    a share of the tokens; calls.
    """
    swept = samples[samples["workload"].isin(["length", "batch"])]
    groups = swept.groupby(["variant", "length", "batch"])
    table = groups.agg(
        ms=("ms", "median"),
        mean_ms=("ms", "mean"),
        texts=("texts", "mean"),
        padding=("padding", "mean"),
        calls=("ms", "size"),
    ).reset_index()
    table["ms"] = table["ms"].where(table["length"] > 0, table.pop("mean_ms"))
    table.insert(4, "texts_per_second", 1e3 * table.pop("texts") / table["ms"])
    return table


def capacities(load: pd.DataFrame) -> pd.DataFrame:
    """Return one row per variant: the requests a second that it sustains within the SLA.

    `single_rps` is this rate one by one (0: none), with its interval, and `single_ms` the latency
    that a trial at this rate measured; `batched_…` are those of requests answered together,
    `offline_rps` the texts a second when all arrive at once. Columns of load.csv.
    """
    rows: dict[str, dict[str, float]] = {}
    direct = load[~load["http"]]
    for name, trials in direct.groupby("variant", sort=False):
        row = rows[str(name)] = {}
        for kind, batched in ("single", False), ("batched", True):
            tried = trials[(trials["batch"] > 1) == batched]
            rate, row[f"{kind}_ms"] = at_most(tried)
            row |= rate.columns(f"{kind}_rps")
        row["offline_rps"] = trials.loc[trials["scenario"] == "Offline", "rate"].item()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def at_most(load: pd.DataFrame) -> tuple[Estimate, float]:
    """Return the highest rate within the SLA, 0 if there is none, and the latency measured at it.

    Rows of load.csv, of one variant and batch.
    """
    tried = load[load["scenario"] == "Server"]
    if tried.empty:
        return Estimate(0.0, 0.0, 0.0), math.nan
    rate, low, high, ms = tried[["rate", "low", "high", "ms"]].iloc[0]
    return Estimate(rate, low, high), ms


def bottleneck(profile: pd.DataFrame, variant: str) -> str:
    """Return one sentence on where a variant's time goes (columns variant, kind, ms)."""
    kinds = profile[profile["variant"] == variant].groupby("kind")["ms"].sum()
    most = kinds.nlargest(3).items()
    parts = ", ".join(f"{kind} {ms:.3g} ms ({ms / kinds.sum():.0%})" for kind, ms in most)
    return f"{Variant.named(variant).title}: {parts}"


def recommended(table: pd.DataFrame) -> str | None:
    """Return the recommended variant (columns of results.csv)."""
    return next(iter(table.index[table["recommended"]]), None)


def fastest_student(table: pd.DataFrame) -> str:
    """Return the student that is fastest from text to label (columns of results.csv)."""
    return str(table.loc[table.index.str.startswith("student_"), SPEED].idxmax())


def headliner(table: pd.DataFrame) -> str:
    """Return the variant of the headline: the recommended one, or else the fastest student."""
    return recommended(table) or fastest_student(table)


def classes(table: pd.DataFrame) -> list[str]:
    """Return the names of the classes (columns of results.csv)."""
    recalls = table.columns[table.columns.str.startswith("recall_")]
    return recalls.str.removeprefix("recall_").tolist()
