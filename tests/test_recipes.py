"""README's commands, as written, in a clone whose defaults are the toy experiment."""

import re
import shutil
import time
from pathlib import Path

import pytest

from tests.clone import Clone, stages
from tests.conftest import make_texts
from tests.readme import README, SECTIONS, commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# What README shows that a command prints.
SHOWN = dict(re.findall(r"```text\n\$ (.+?)\n(.*?)```", README, re.DOTALL))
NOT_RUN = {  # by how they begin, and why
    "source .venv": "Clone does",
    "dvc exp run -S +experiment": "they run for minutes; test_settings.py composes all settings",
    "dvc exp run -n unsmoothed": "as per-tensor",
    "dvc exp run -S report.sla_ms": "as report.quality_loss, and the load",
    "dvc exp run -S student.init=checkpoint": "test_distill.py does",
    "dvc exp run -n both": "test_dag.py does, with other settings",
    "make serve": "test_serve.py does",
    "curl -d": "test_serve.py does",
    "printf": "test_cluster.py does",
    "cluster/sweep.sh": "test_cluster.py does",
    "dvc exp pull": "what they push",
    "dvc remote add": "test_dag.py does",
    "dvc push": "test_dag.py does",
    "dvc pull": "test_dag.py does",
    "dvc get": "test_dag.py does",
    "python -m stages.tools.sweep": "test_sweep.py does",
    "git checkout HEAD params.yaml": "the clone's defaults are not README's",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, lean: list[str], sources: Path) -> Clone:
    """Return a clone on main with the toy experiment committed, and the files README names."""
    clone = Clone(tmp_path_factory.mktemp("recipes") / "project")
    without_transfer = [each for each in lean if "transfer" not in each]
    clone.shrink([*without_transfer, f"data.source.path={sources / 'texts' / 'train.csv'}"])
    clone.dvc("repro")
    own = clone.directory
    texts = make_texts(200, seed=2).rename(columns={"text": "body", "label": "stars"})
    texts.to_csv(own / "reviews.csv", index=False)
    (own / "texts.txt").write_text("\n".join(texts["body"][:5]))
    (own / "texts").mkdir()
    for name, seed in (("train", 3), ("test", 4)):
        make_texts(60, seed=seed).to_csv(own / "texts" / f"{name}.csv", index=False)
    shutil.copytree(own / "data" / "models" / "teacher" / "pytorch", own / "my-model")
    return clone


def run(clone: Clone, section: str) -> dict[str, str]:
    """Run a section's commands in order; return what each printed."""
    printed = {}
    for command in commands(section):
        if not command.startswith(tuple(NOT_RUN)):
            printed[command] = clone.run("bash", "-c", command)
        if command == "dvc queue start -j 2":
            while re.search("Queued|Running", clone.run("dvc", "queue", "status")):
                time.sleep(2)
    return printed


def shape(text: str) -> str:
    """Return a text without what differs between two runs: its numbers and its columns' widths."""
    return re.sub(r"[-+]?\d+(\.\d+)?", "0", " ".join(text.split()))


def test_the_sections_have_commands() -> None:
    assert {"Use the result", "Your own texts, your own model", "Sweep", "Compare"} <= set(SECTIONS)
    assert all(commands(each) for each in SECTIONS)


def test_the_commands_do_what_readme_says(clone: Clone) -> None:
    used = run(clone, "Use the result")

    swept = run(clone, "Sweep")
    per_tensor = next(each for each in swept if "-n per-tensor" in each)
    assert stages(swept[per_tensor]) == {
        *("machine", "quantize@teacher-int8", "quantize@student-int8"),
        *("evaluate@teacher-int8", "evaluate@student-int8"),
        *("benchmark", "load", "profile", "report", "release"),
    }
    verdict = next(each for each in swept if "quality_loss" in each)
    assert {"report", "release"} <= stages(swept[verdict])
    assert "distill" not in stages(swept[verdict])
    assert swept["dvc queue status"].count("Success") == 2
    assert "per-tensor" in next(
        text for each, text in swept.items() if each.startswith("dvc exp show")
    )
    compared = run(clone, "Compare")
    for command, expected in SHOWN.items():
        assert shape((used | compared)[command]) == shape(expected)
    metrics = next(text for each, text in compared.items() if each.startswith("dvc metrics"))
    assert "reports/metrics.json" in metrics  # each of its figures alone may stay the same

    own = run(clone, "Your own texts, your own model")
    assert all("benchmark" in stages(printed) for printed in own.values())
