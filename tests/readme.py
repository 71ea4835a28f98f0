"""README's commands."""

import re

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
SECTIONS = {  # their texts, of those that show commands
    title: text
    for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    if "```bash" in text
}


def commands(section: str) -> list[str]:
    """Return the commands of a section, each on one line, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", SECTIONS[section], re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = [" ".join(line.split("  #")[0].split(" # ")[0].split()) for line in lines]
    return [each for each in found if each and not each.startswith("#")]
