import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import ROOT

WHEEL = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]


def test_the_wheel_has_the_templates_and_tables_beside_the_modules(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "stages", source / "stages", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    files = [path for path in (source / "stages").rglob("*") if path.is_file()]
    command = [sys.executable, "-m", *WHEEL, "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        packed = {name for name in content.namelist() if ".dist-info/" not in name}
    assert packed == {path.relative_to(source).as_posix() for path in files}
    assert {".py", ".jinja", ".csv"} <= {Path(name).suffix for name in packed}
