"""Time every variant, in turns, in one run, on an otherwise quiet machine.

Speed drifts by half within minutes on a shared machine, so variants are compared round by round:
in each, every variant takes one turn, in random order, in a process of its own (the thread pools
of PyTorch and ONNX Runtime disturb each other in one). Only one process is active at a time; the
others, this one included, block. One variant is there twice: the two differ by noise alone.
"""

import os

import numpy as np

from stages.core.launch.atomic import atomic_directory, write_json
from stages.core.launch.command import launch
from stages.core.launch.paths import BENCHMARK
from stages.core.launch.settings import CONTROL, Settings
from stages.core.measuring import worker
from stages.core.measuring.conditions import commit
from stages.core.measuring.rounds import measure_alone, request_cells, sweep_cells
from stages.core.serving.variant import Manifest, Variant, variants
from stages.core.text.corpus import load_corpus


def run(config: Settings) -> str:
    """Write data/benchmark: samples.parquet (a row per timed call) and conditions.json.

    Raises:
        InputError: no length of the sweep is one that the models can read, or a worker died.
    """
    settings = config.benchmark
    sentences = load_corpus()["test"]["text"][:]
    random = np.random.default_rng(config.seed)
    served = {variant.name: variant.directory for variant in variants(config.forms)}
    served[CONTROL] = Variant.named(settings.control).directory
    positions = min(Manifest.read(directory).positions for directory in served.values())
    plan = [
        *request_cells(settings, sentences, random),
        *sweep_cells(settings.sweep, sentences, positions, random),
    ]
    workers = {name: (directory, worker.__name__) for name, directory in served.items()}
    samples, found = measure_alone(workers, plan, settings, random)
    found |= {
        "commit": commit(),
        "threads": settings.threads,
        "affinity": sorted(os.sched_getaffinity(0)),
    }
    with atomic_directory(BENCHMARK) as target:
        samples.to_parquet(target / "samples.parquet", index=False)
        write_json(target / "conditions.json", found)
    post = samples[(samples["workload"] == "post") & (samples["quantity"] == "model")]
    fastest = post.groupby("variant")["ms"].mean().drop(CONTROL)
    return f"{BENCHMARK}, {len(samples)} calls; {fastest.idxmin()} takes {fastest.min():.2f} ms"


if __name__ == "__main__":
    launch(run, alone=True)
