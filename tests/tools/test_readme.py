import re

import yaml

from stages.tools.readme import with_results
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
RESULTS = "# Results\n\nLess latency.\n\nMore.\n\n## Table\n\n| a |\n|---|\n| b |\n\n| c |\n"


def test_the_headline_and_the_first_table_stand_between_the_markers() -> None:
    readme = "before\n<!-- results -->\nold\n<!-- /results -->\nafter\n"
    written = with_results(readme, RESULTS)
    assert written.startswith("before\n<!-- results -->\n\nLess latency.\n\n![Accuracy")
    assert written.endswith("\n\n| a |\n|---|\n| b |\n\n<!-- /results -->\nafter\n")
    assert with_results(written, RESULTS) == written


def test_the_picture_and_the_table_show_the_stages_of_dvc_yaml() -> None:
    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    picture = README.split("flowchart LR")[1].split("```")[0]
    assert set(re.findall(r"[a-z]+", picture)) == stages
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == stages


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
