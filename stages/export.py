"""Export a checkpoint to ONNX and check that its logits match PyTorch's."""

from dataclasses import replace

import numpy as np
from optimum.exporters.onnx import main_export
from tokenizers import Tokenizer

from stages.core.graph.optimize import optimize
from stages.core.launch.atomic import atomic_directory
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError, is_disk_error, reason
from stages.core.launch.paths import existing
from stages.core.launch.settings import Settings
from stages.core.serving.classifier import Classifier, encode, load_classifier, load_tokenizer
from stages.core.serving.variant import Manifest, Variant
from stages.core.text.corpus import load_corpus

BATCH_SIZES = (1, 3, 8)


def run(config: Settings) -> str:
    """Write a model's onnx variant, once its logits equal PyTorch's.

    Raises:
        InputError: they don't, or the graph can't be optimized.
    """
    settings, model = config.export, config.run.required("model")
    checkpoint, target = existing(Variant(model, "pytorch").directory), Variant(model, "onnx")
    texts = load_corpus()["validation"]["text"][:]
    tokenizer, pytorch = load_tokenizer(checkpoint), load_classifier(checkpoint)
    with atomic_directory(target.directory) as directory:
        main_export(
            model_name_or_path=str(checkpoint),
            output=directory,
            task="text-classification",
            do_validation=False,  # ours is stricter: real sentences, several lengths and batches
        )
        manifest = Manifest.read(checkpoint)
        replace(manifest, engine="onnxruntime", title="ONNX").write(directory)

        done = "not optimized"
        difference = largest_difference(tokenizer, pytorch, load_classifier(directory), texts)
        check(difference, settings.tolerance, f"the {model}'s graph")
        if settings.optimize:
            remedy = "use export.optimize=false"
            try:
                done = optimize(directory / "model.onnx", manifest.positions)
                exported = load_classifier(directory)
                difference = largest_difference(tokenizer, pytorch, exported, texts)
            except Exception as error:  # the libraries raise many kinds
                if is_disk_error(error):
                    raise
                why = reason(error.__cause__ or error)
                raise InputError(
                    f"the {model}'s graph can't be optimized ({why}); {remedy}"
                ) from error
            check(difference, settings.tolerance, f"the {model}'s optimized graph", remedy)
    return f"{target.directory}, {done}, within {difference:.1e} of PyTorch's logits"


def check(difference: float, tolerance: float, graph: str, remedy: str = "") -> None:
    """Raise InputError unless a graph's logits are near PyTorch's."""
    if not difference <= tolerance:
        raise InputError(
            f"{graph} gives other logits than PyTorch, by {difference:.1e} of the largest, more "
            f"than export.tolerance = {tolerance:.0e}; "
            f"{remedy or 'raise that if a difference this small is acceptable'}"
        )


def largest_difference(
    tokenizer: Tokenizer, pytorch: Classifier, exported: Classifier, texts: list[str]
) -> float:
    """Return the largest difference of a checkpoint's logits and its export's, as a share.

    It is relative to the largest logit, or to 1 if that is smaller: rounding errors grow with it.
    For every batch size, compares the shortest, the median and the longest of `texts`, and one of
    each as a batch, which is mostly padding.
    """
    texts = sorted(texts, key=len)
    middle = len(texts) // 2
    batches = [[texts[0], texts[middle], texts[-1]]]
    for size in BATCH_SIZES:
        batches += [texts[:size], texts[middle : middle + size], texts[-size:]]
    inputs = [encode(tokenizer, batch) for batch in batches]
    theirs = np.concatenate([pytorch.logits(each) for each in inputs])
    ours = np.concatenate([exported.logits(each) for each in inputs])
    # Not a number, if one of them is not.
    return float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(theirs).max())))


if __name__ == "__main__":
    launch(run)
