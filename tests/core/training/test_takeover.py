import numpy as np
import pytest

from stages.core.launch.errors import InputError
from stages.core.training.takeover import matched

CLEAR, CLEAR_SWAPPED, UNCLEAR = np.eye(2) * 6, np.eye(2)[::-1] * 6, np.full((2, 2), 3)


@pytest.mark.parametrize(
    ("names", "theirs", "counts", "order"),
    [
        (["Yes", "yes"], ["yes", "Yes"], CLEAR_SWAPPED, [1, 0]),  # they differ in case alone
        (["Yes", "yes"], ["Yes", "yes"], UNCLEAR, [0, 1]),
        (["no", "yes"], ["YES", "NO"], UNCLEAR, [1, 0]),
        (["LABEL_0", "LABEL_1"], ["LABEL_0", "LABEL_1"], UNCLEAR, [0, 1]),  # the corpus's own names
        (["no", "yes"], ["LABEL_0", "LABEL_1"], CLEAR_SWAPPED, [1, 0]),
        (["neg", "pos"], ["NEGATIVE", "POSITIVE"], CLEAR, [0, 1]),
    ],
)
def test_classes_are_matched_by_name_or_else_by_answers(
    names: list[str], theirs: list[str], counts: np.ndarray, order: list[int]
) -> None:
    assert matched(names, theirs, counts) == order


def test_answers_that_could_be_chance_match_no_classes() -> None:
    with pytest.raises(InputError, match=r"which of .'toxic', 'clean'. is which of .'neg', 'pos'"):
        matched(["neg", "pos"], ["toxic", "clean"], np.array([[60, 40], [40, 60]]))


def test_one_name_for_two_classes_is_refused() -> None:
    with pytest.raises(InputError, match=r"labels are .'Yes', 'yes'., the corpus's .'yes', 'YES'"):
        matched(["yes", "YES"], ["Yes", "yes"], CLEAR)
