import re
import subprocess
from pathlib import Path

import yaml

from stages.tools.readme import with_results

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def committed(path: str) -> str:
    """Return a file of the last commit: a run on another machine changes reports/, and may."""
    command = ["git", "show", f"HEAD:{path}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_table_is_the_generated_one() -> None:
    readme = committed("README.md")
    results, seeds = committed("reports/results.md"), committed("reports/seeds.md")
    assert with_results(readme, results, seeds) == readme, "run: make readme"


def test_the_picture_and_the_table_show_the_stages_of_dvc_yaml() -> None:
    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    picture = README.split("flowchart LR")[1].split("```")[0]
    assert set(re.findall(r"[a-z]+", picture)) == stages
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == stages


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
