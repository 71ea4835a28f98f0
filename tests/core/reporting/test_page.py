import pytest

from stages.core.reporting.latency import Estimate
from stages.core.reporting.page import warnings

QUIET = {
    "others_share": 0.01,
    "stolen_share": 0.0,
    "throttled_periods": 0,
    "cpu_quota": None,
    "governor": "performance",
    "boost": "1",
    "on_battery": False,
}
STEADY = {"post_model": Estimate(1.02, 0.99, 1.05)}
SPEEDUP = Estimate(22, 21, 23)


def test_a_quiet_machine_and_a_steady_control_give_no_warning() -> None:
    assert warnings(QUIET, STEADY, SPEEDUP) == ""
    assert warnings(QUIET | {"governor": None, "on_battery": None}, STEADY, SPEEDUP) == ""


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"others_share": 0.25}, "other programs took 25% of the machine"),
        ({"stolen_share": 0.1}, "the host withheld 10% of the machine"),
        ({"throttled_periods": 3, "cpu_quota": "150000 100000"}, "a CPU quota (150000 100000)"),
        ({"governor": "powersave"}, "governor is powersave"),
        ({"on_battery": True}, "battery"),
    ],
)
def test_a_disturbed_machine_gives_one(found: dict, text: str) -> None:
    (line,) = warnings(QUIET | found, STEADY, SPEEDUP).strip().splitlines()
    assert line.startswith("> **Warning**: ")
    assert text in line


def test_a_control_that_strays_gives_one() -> None:
    found = warnings(QUIET, {"test_label": Estimate(0.96, 0.95, 0.97)}, SPEEDUP)
    assert "differs from its twin by -4.0% on the test sentences, text to label" in found


def test_a_pace_that_changed_during_the_run_gives_one() -> None:
    found = warnings(QUIET, STEADY, Estimate(22, 16.07, 22.61))
    assert "student int8 is 16.1 to 22.6 times faster" in found
