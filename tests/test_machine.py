import json
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.core.launch.paths import MACHINE


def test_the_same_machine_is_described_alike_without_its_name(empty: Callable) -> None:
    empty("machine")
    first = MACHINE.read_text()
    empty("machine")
    assert MACHINE.read_text() == first
    machine = json.loads(first)
    assert machine["cores"] >= 1
    assert machine["packages"]["torch"]
    assert platform.node() not in first


@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        ("echo NVIDIA H100; echo NVIDIA L4", ["NVIDIA H100", "NVIDIA L4"]),
        ("echo no driver; exit 9", []),
    ],
)
def test_gpus_are_named_where_a_driver_answers(
    empty: Callable, monkeypatch: pytest.MonkeyPatch, script: str, gpus: list[str]
) -> None:
    command = Path("nvidia-smi")
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(Path.cwd()), prepend=":")
    said = empty("machine")
    assert json.loads(MACHINE.read_text())["gpus"] == gpus
    assert ("NVIDIA" in said) is bool(gpus)
