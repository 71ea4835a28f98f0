"""Putting the generated tables into README."""

import re
from pathlib import Path

from stages.core.launch.atomic import write_text
from stages.core.launch.paths import REPORTS

README = Path("README.md")
BLOCK = re.compile(r"(?<=<!-- results -->\n).*(?=<!-- /results -->)", re.DOTALL)


def with_results(readme: str, results: str, seeds: str) -> str:
    """Return `readme` with the results between its two markers.

    Args:
        readme: README.md.
        results: results.md, of which what comes before the first figure is taken.
        seeds: seeds.md, of which all is taken.
    """
    tables = results.split("\n", 2)[2].split("![", 1)[0].replace("\n## ", "\n### ")
    spread = seeds.replace("# ", "### ", 1).replace("(seeds.csv)", "(reports/seeds.csv)")
    return BLOCK.sub(lambda _: f"\n{tables.strip()}\n\n{spread.strip()}\n\n", readme)


if __name__ == "__main__":
    results, seeds = ((REPORTS / name).read_text() for name in ("results.md", "seeds.md"))
    write_text(README, with_results(README.read_text(), results, seeds))
