"""Quantize an exported model into one form, with that form's engine."""

import numpy as np

from stages.core.engines import load_engine
from stages.core.graph.quantization import SAMPLE, relative_error
from stages.core.launch.atomic import atomic_directory
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.settings import Settings
from stages.core.serving.classifier import (
    copy_description,
    load_classifier,
    load_tokenizer,
    sampler,
)
from stages.core.serving.variant import Manifest, Variant
from stages.core.text.corpus import load_corpus


def run(config: Settings) -> str:
    """Write a model in one quantized form.

    Raises:
        InputError: exclude_nodes matches nothing, or a product stays in fp32.
    """
    variant = Variant(config.run.required("model"), config.run.required("form"))
    if variant.form not in config.quantize:
        forms = ", ".join(config.quantize)
        raise InputError(f"run.form = {variant.form!r} is not a quantized form; use one of {forms}")
    settings = config.quantize[variant.form]
    source = Variant(variant.model, "onnx").directory
    manifest = Manifest.read(source)
    sample = sampler(load_tokenizer(source), load_corpus())
    with atomic_directory(variant.directory) as directory:
        done = load_engine(settings.engine).quantize(source, directory, settings.options, sample)
        copy_description(source, directory)
        Manifest(settings.engine, settings.title, manifest.positions, quantized=True).write(
            directory
        )
        # On train texts, which the model has learned, the logits are too far apart to show it.
        inputs = sample("validation", SAMPLE)
        exact, ours = (
            np.concatenate([*map(load_classifier(each).logits, inputs)])
            for each in (source, directory)
        )
        error = relative_error(ours, exact)
    return f"{variant.directory}, {done}, with an error of {error:.2%}"


if __name__ == "__main__":
    launch(run)
