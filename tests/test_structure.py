"""What DVC can't see: that dependencies are declared, imports go one way and files stay small."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from stages.core.launch.settings import Settings
from tests.conftest import ROOT

STAGES = ROOT / "stages"
CORE = STAGES / "core"
# A folder may import from itself and those after it; stages and tools may import from all.
BELOW = {
    "reporting": ("measuring", "serving", "text", "task", "launch"),
    "measuring": ("serving", "engines", "text", "launch"),
    "training": ("serving", "text", "task", "launch"),
    "serving": ("engines", "task", "launch"),
    "engines": ("graph", "launch"),
    "graph": ("launch",),
    "text": ("launch",),
    "task": ("text", "launch"),
    "launch": (),
}
MAX_FILE, MAX_FUNCTION, MAX_TOTAL = 300, 60, 10_500
FILES = sorted(STAGES.rglob("*.py"))
DAG = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def imports(file: Path) -> set[Path]:
    """Return the files of stages/ that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    places = [ROOT.joinpath(*name.split(".")) for name in names]
    candidates = {
        path for place in places for path in (place.with_suffix(".py"), place / "__init__.py")
    }
    return candidates & set(FILES)


IMPORTS = {file: imports(file) for file in FILES}


def closure(file: Path) -> set[Path]:
    found, left = set(), [file]
    while left:
        each = left.pop()
        if each not in found:
            found.add(each)
            left += IMPORTS[each]
    return found


@pytest.mark.parametrize("name", DAG)
def test_a_stages_dependencies_are_the_code_that_it_imports(name: str) -> None:
    stage = DAG[name].get("do", DAG[name])
    module = STAGES / f"{stage['cmd'].split()[2].split('.')[1]}.py"
    imported = {
        file
        for file in closure(module)
        # The frame of every stage decides no result, and a bare package nothing at all.
        if not file.is_relative_to(CORE / "launch") and (file.parent != CORE or file == module)
        if file.name != "__init__.py" or file.parent.name == "engines"
    }
    if name == "quantize":  # engines are imported by name; it alone runs what they import for it
        imported |= {CORE / "graph" / "quantization.py"}
    declared = [ROOT / path for path in stage["deps"] if path.startswith("stages/")]
    missing = [file for file in imported if not any(map(file.is_relative_to, declared))]
    assert missing == [], "dvc repro would not rerun it when these change"
    idle = [path for path in declared if not any(file.is_relative_to(path) for file in imported)]
    assert idle == [], "it would be rerun for code that it never imports"


@pytest.mark.parametrize("name", sorted(DAG.keys() - {"machine", "fetch"}))
def test_a_stages_parameters_are_the_settings_that_it_reads(name: str) -> None:
    files = [STAGES / f"{DAG[name]['cmd'].split()[2].split('.')[1]}.py"]
    if name == "report":  # whose page reads some itself
        files += [CORE / "reporting" / each for each in ("page.py", "templates/results.md.jinja")]
    source = "".join(file.read_text() for file in files)
    read = set(re.findall(r"\bconfig\.(\w+)", source)) & Settings.model_fields.keys() - {"run"}
    assert {key.split(".")[0] for key in DAG[name].get("params", ())} == read


@pytest.mark.parametrize("folder", BELOW)
def test_imports_go_down(folder: str) -> None:
    allowed = (*(CORE / name for name in (folder, *BELOW[folder])), CORE / "__init__.py")
    for file in (CORE / folder).rglob("*.py"):
        above = [each for each in IMPORTS[file] if not any(map(each.is_relative_to, allowed))]
        assert above == [STAGES / "__init__.py"] * len(above), f"{file} imports from above"


def test_imports_run_in_no_circle() -> None:
    for file in FILES:
        circle = [each for each in IMPORTS[file] if each != file and file in closure(each)]
        assert circle == [], f"{file} is imported by what it imports"


def test_files_and_functions_are_small() -> None:
    templates = list(STAGES.rglob("*.jinja"))
    lengths = {file: len(file.read_text().splitlines()) for file in (*FILES, *templates)}
    assert {file for file, length in lengths.items() if length > MAX_FILE} == set()
    assert sum(lengths.values()) < MAX_TOTAL
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= MAX_FUNCTION, f"{file}: {node.name} has {length} lines"
