import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import trainer

from stages.core.launch.errors import InputError
from stages.core.launch.paths import ENCODER
from stages.tools import growth


@pytest.fixture
def overrides(project: Callable, tiny: list[str]) -> list[str]:
    """Enter a finished project; return its settings, but for those of its corpus."""
    corpus = {each.split("=")[0] for each in growth.NEW} | {"data.files.transfer"}
    return [each for each in tiny if each.split("=")[0] not in corpus]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_growth_is_measured_where_it_can_be_and_extrapolated_elsewhere(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "FACTORS", (1, 2))
    monkeypatch.setattr(growth, "SAMPLE", 4)
    growth.run(overrides)
    table = pd.read_csv("reports/growth/growth.csv")
    measured = table[~table["extrapolated"]]
    assert measured["phase"].nunique() == 4
    assert measured["gb"].between(0.1, 4).all()
    assert (table["seconds"] > 0).all()
    for _, rows in table[table["extrapolated"]].groupby("phase"):
        assert 1.5 < rows["seconds"].iloc[1] / rows["seconds"].iloc[0] < 2.5
    page = Path("reports/growth/README.md").read_text()
    assert "100,000,000 texts" in page
    assert all(phase in page for phase in table["phase"])


@pytest.mark.parametrize(("stage", "steps"), [("finetune", 5), ("distill", 10_000)])
def test_a_training_ends_after_a_few_steps_and_leaves_no_model(
    overrides: list[str],
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    steps: int,
) -> None:
    monkeypatch.setenv("GROWTH_STARTED", "0")
    monkeypatch.setattr("transformers.trainer.DEFAULT_CALLBACKS", [*trainer.DEFAULT_CALLBACKS])
    model = {"finetune": "teacher", "distill": "student"}[stage]
    file = Path(f"data/models/{model}/pytorch/model.safetensors")
    before = file.stat().st_mtime_ns
    brief = [*overrides, "distill.epochs=1", "distill.batch_size=32"]
    with pytest.raises(SystemExit):
        growth.first_steps(stage, steps, brief)
    begun, step = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 < step < 60 < begun
    assert file.stat().st_mtime_ns == before


def test_a_phase_that_fails_is_named(overrides: list[str], tmp_path: Path) -> None:
    project = growth.begin_project(tmp_path / "p", ENCODER)
    with pytest.raises(InputError, match=r"python -m stages\.prepare failed on made-up texts"):
        growth.measure(project, [*overrides, *growth.NEW], "stages.prepare")


def test_the_memory_is_that_of_the_module_alone(tmp_path: Path) -> None:
    held = np.ones(50_000_000)  # 400 MB, of this process
    _, gb, printed = growth.measure(tmp_path, [], "platform", "terse")
    assert printed
    assert 0.01 < gb < held.nbytes / 1e9 / 2


def test_the_plan_lies_on_the_line_through_the_last_two() -> None:
    rows = {"phase": "prepare", "texts": [1e4, 1e5, 1e6], "seconds": [9.0, 10.0, 19.0]}
    found = growth.planned(pd.DataFrame(rows).assign(gb=[0.1, 0.2, 1.1]))
    assert found.loc["prepare", "seconds"] == pytest.approx(19 + 99 * 10)
    assert found.loc["prepare", "gb"] == pytest.approx(1.1 + 99)


def test_made_up_texts_have_the_words_and_lengths_of_the_real_ones() -> None:
    texts = [["a", "b"], ["c"] * 5]
    made = growth.made_up(texts, ["no", "yes"], 500)
    assert {len(text.split()) for text in made["text"]} == {2, 5}
    assert {word for text in made["text"] for word in text.split()} == {"a", "b", "c"}
    assert np.mean(made["label"] == "yes") == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.25, "1.2 s"), (119, "119.0 s"), (7200, "2.0 h"), (2e5, "2.3 days")]
)
def test_durations_have_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert growth.duration(seconds) == text
