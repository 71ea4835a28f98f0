import re
from pathlib import Path

import yaml

from stages.core.readme import with_results

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_is_the_generated_one() -> None:
    results = (ROOT / "reports" / "results.md").read_text()
    assert with_results(README, results) == README, "run: make readme"


def test_the_picture_and_the_table_show_the_stages_of_dvc_yaml() -> None:
    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    picture = README.split("flowchart LR")[1].split("```")[0]
    assert set(re.findall(r"[a-z]+", picture)) == stages
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == stages


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
