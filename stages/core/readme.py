"""Putting the generated tables into README."""

import re
from pathlib import Path

from stages.core.files import write_text
from stages.core.layout import REPORTS

README = Path("README.md")
BLOCK = re.compile(r"(?<=<!-- results -->\n).*(?=<!-- /results -->)", re.DOTALL)


def with_results(readme: str, results: str) -> str:
    """Return `readme` with what results.md says before its figure between the two markers."""
    tables = results.split("\n", 2)[2].split("![", 1)[0].replace("\n## ", "\n### ")
    return BLOCK.sub(lambda _: f"\n{tables.strip()}\n\n", readme)


if __name__ == "__main__":
    results = (REPORTS / "results.md").read_text()
    write_text(README, with_results(README.read_text(), results))
