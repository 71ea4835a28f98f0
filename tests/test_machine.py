import json
import platform
from collections.abc import Callable

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
