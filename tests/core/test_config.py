from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from stages import benchmark, distill, evaluate, export, fetch, finetune, prepare, quantize
from stages.core.config import parse
from stages.core.errors import InputError
from stages.core.params import write_params
from tests.conftest import composed

ROOT = Path(__file__).parents[2]
SELECTORS = [
    "fetch.item=encoder",
    "export.model=teacher",
    "quantize.model=teacher",
    "evaluate.variant=student_int8",
]
STAGES = [fetch, prepare, finetune, distill, export, quantize, evaluate, benchmark]


def test_params_yaml_is_the_composition_of_conf(tmp_path: Path) -> None:
    write_params(tmp_path / "params.yaml", [])
    composition = (tmp_path / "params.yaml").read_text()
    assert (ROOT / "params.yaml").read_text() == composition, "run: make params"


@pytest.mark.parametrize(
    "choice",
    [
        [],
        ["+experiment=post"],
        ["model=local", "model.source.path=x", "data=local", "data.source.path=y"],
        ["quantize=dynamic-per-channel"],
        ["+experiment=smoke"],
        ["+experiment=no-teacher"],
    ],
)
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__.split(".")[1])
def test_every_choice_is_valid_for_every_stage(stage: ModuleType, choice: list[str]) -> None:
    assert parse(composed(*SELECTORS, *choice), stage.Config)


BAD = [
    (finetune, "+finetune.epoch=3", "finetune.epoch is not a known setting"),
    (finetune, "finetune.epochs=-1", "finetune.epochs = -1: .*greater than or equal to 0"),
    (finetune, "finetune.epochs=many", "finetune.epochs = 'many': .*valid integer"),
    (finetune, "finetune.epochs=1.5", "finetune.epochs = 1.5"),
    (finetune, "finetune.bf16=maybe", "finetune.bf16 = 'maybe': .*'auto', 'on' or 'off'"),
    (finetune, "finetune.learning_rate=0", "finetune.learning_rate = 0: .*greater than 0"),
    (finetune, "finetune.warmup_ratio=1", "finetune.warmup_ratio = 1: .*less than 1"),
    (finetune, "~finetune.epochs", "finetune.epochs is not set"),
    (finetune, "finetune=null", "finetune = None"),
    (finetune, "model.max_length=100000", "model.max_length = 100000: .*512"),
    (finetune, "seed=-1", "seed = -1"),
    (distill, "distill.epochs=0", "distill.epochs = 0"),
    (distill, "distill.label_weight=1.5", "distill.label_weight = 1.5"),
    (distill, "student.teacher_layers=[0,1]", "teacher_layers must name n_layers = 3 layers"),
    (fetch, "fetch.item=model", "fetch.item = 'model'"),
    (fetch, "data.source.kind=ftp", "'ftp'"),
    (fetch, "model.source.sha256=123", "model.source.sha256 = 123"),
    (fetch, "model.source.requirement=name", "model.source.requirement = 'name'"),
    (prepare, "data.test_share=0", "give files.test, or a test_share above 0"),
    (prepare, "data.validation_share=0", "give files.validation, or a validation_share above 0"),
    (prepare, "data.test_share=0.95", "leave nothing to train on"),
    (prepare, "data.label_names=[one]", "data.label_names"),
    (prepare, "data.label_names=[a,a]", "label_names has a name twice"),
    (prepare, "data.rating_threshold=0", "data.rating_threshold = 0"),
    (prepare, "data.label_names=[a,b,c]", "rating_threshold needs two label_names"),
    (export, "export.model=both", "export.model = 'both': .*'teacher' or 'student'"),
    (export, "export.tolerance=0", "export.tolerance = 0"),
    (quantize, "quantize.per_channel=1", "quantize.per_channel = 1: .*valid boolean"),
    (evaluate, "evaluate.variant=tiny", "evaluate.variant = 'tiny'"),
    (benchmark, "benchmark.threads=0", "benchmark.threads = 0"),
    (benchmark, "benchmark.warmup=-1", "benchmark.warmup = -1"),
]


@pytest.mark.parametrize(("stage", "override", "message"), BAD, ids=[case[1] for case in BAD])
def test_bad_settings_are_named(stage: ModuleType, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(composed(*SELECTORS, override), stage.Config)


def test_a_missing_selector_is_named() -> None:
    with pytest.raises(InputError, match=r"export.model is not set; add export.model=…"):
        parse(composed(), export.Config)


def test_a_missing_path_is_named() -> None:
    with pytest.raises(InputError, match=r"data.source.path is not set; add data.source.path=…"):
        parse(composed("data=local"), prepare.Config)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["epochs", "batch_size", "bf16"]),
        st.text(max_size=5).filter(lambda text: "$" not in text),
    )
)
def test_texts_where_numbers_belong_end_in_one_error(values: dict[str, str]) -> None:
    config = composed()
    wrong = {key: value for key, value in values.items() if value not in ("auto", "on", "off")}
    OmegaConf.update(config, "finetune", wrong, merge=True)
    if wrong:
        with pytest.raises(InputError):
            parse(config, finetune.Config)
    else:
        assert parse(config, finetune.Config)
