"""Put the headline and the table beside the post's into README.md (`make readme`)."""

import re
from pathlib import Path

from stages.core.launch.atomic import write_text
from stages.core.launch.paths import REPORTS

README = Path("README.md")
BLOCK = re.compile(r"(?<=<!-- results -->\n).*(?=<!-- /results -->)", re.DOTALL)


def with_results(readme: str, results: str) -> str:
    """Return README.md with what results.md begins with: its headline and its first table."""
    parts = results.split("\n\n")
    warnings = [part for part in parts if part.startswith("> **Warning**")]
    headline = "\n\n".join(parts[1 : len(warnings) + 2])
    table = next(part for part in parts if part.startswith("|"))
    figure = "![Accuracy against latency](reports/accuracy_latency.svg)"
    return BLOCK.sub(lambda _: f"\n{headline}\n\n{figure}\n\n{table}\n\n", readme)


if __name__ == "__main__":
    results = (REPORTS / "results.md").read_text(encoding="utf-8")
    write_text(README, with_results(README.read_text(encoding="utf-8"), results))
