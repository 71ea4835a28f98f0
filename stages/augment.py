"""Make more texts from those of the train split, for the teacher to label."""

from random import Random

from datasets import Dataset, Features, Value
from tqdm import tqdm

from stages.core.launch.atomic import atomic_directory, write_json
from stages.core.launch.command import launch
from stages.core.launch.paths import AUGMENTED, REPORTS
from stages.core.launch.settings import AugmentConfig, Settings
from stages.core.text.augmentation import HeldOut, clauses, joined, spans
from stages.core.text.corpus import load_corpus
from stages.core.text.splits import key

FEATURES = Features({"text": Value("string"), "origin": Value("string")})


def run(config: Settings) -> str:
    """Write data/augmented (text, origin) and how many there are, reports/augmented.json."""
    corpus = load_corpus()
    made = augmented(corpus["train"]["text"][:], config.augment, config.data.seed)
    held_out = HeldOut(text for name in ("validation", "test") for text in corpus[name]["text"][:])
    seen = {key(text) for name in corpus for text in corpus[name]["text"][:]}
    counts = dict.fromkeys(made, 0) | {"repeated": 0, "overlapping": 0}
    rows: dict[str, list[str]] = {name: [] for name in FEATURES}
    for origin, texts in made.items():
        for text in tqdm(texts, desc=origin, unit="text", disable=None):
            if key(text) in seen:
                counts["repeated"] += 1
            elif held_out.overlaps(text):
                counts["overlapping"] += 1
            else:
                seen.add(key(text))
                counts[origin] += 1
                rows["text"].append(text)
                rows["origin"].append(origin)
    with atomic_directory(AUGMENTED) as directory:
        dataset = Dataset.from_dict(rows, features=FEATURES)
        dataset.save_to_disk(directory, num_shards=1)  # by default none for no texts
    write_json(REPORTS / "augmented.json", counts)
    kinds = ", ".join(f"{counts[origin]} {origin}" for origin in made)
    return (
        f"{AUGMENTED} with {len(rows['text'])} texts ({kinds}); dropped {counts['repeated']} that "
        f"repeat others and {counts['overlapping']} that overlap held-out ones"
    )


def augmented(texts: list[str], settings: AugmentConfig, seed: int) -> dict[str, list[str]]:
    """Return the texts that are made from `texts`, by their origin."""
    random = Random(seed)  # noqa: S311 no secret
    parts = [part for text in texts for part in clauses(text)]
    return {
        "clauses": parts if settings.clauses else [],
        "spans": [span for text in texts for span in spans(text, settings.spans, random)],
        "joined": joined(parts, settings.joined * len(texts), random),
    }


if __name__ == "__main__":
    launch(run)
