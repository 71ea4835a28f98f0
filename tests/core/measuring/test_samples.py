from pathlib import Path

import pytest

from stages.core.launch.errors import InputError
from stages.core.launch.paths import BENCHMARK
from stages.core.launch.settings import CONTROL
from stages.core.measuring.samples import load_samples
from tests.core.reporting.made_up import MS, NAMES, samples


@pytest.mark.parametrize("names", [NAMES[:-1], [*NAMES, "student_openvino"]])
def test_samples_of_other_variants_than_forms_names_are_refused(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    BENCHMARK.mkdir(parents=True)
    shuffled = samples(MS, calls=2).sample(frac=1, random_state=0)
    shuffled.to_parquet(BENCHMARK / "samples.parquet")
    assert load_samples(NAMES)["variant"].cat.categories.tolist() == [*NAMES, CONTROL]
    (odd,) = {*names} ^ {*NAMES}
    with pytest.raises(InputError, match=f"differ in {odd}; measure the variants again"):
        load_samples(names)
