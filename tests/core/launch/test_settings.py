import math
import shlex
from collections.abc import Iterator
from copy import deepcopy
from itertools import cycle, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from stages import export, fetch
from stages.core.launch.errors import InputError
from stages.core.launch.parse import parse
from stages.core.launch.settings import Settings
from stages.tools.params import write_params
from tests.conftest import ROOT, composed, configured
from tests.readme import SECTIONS, commands

RUN = ["run.item=encoder", "run.model=teacher", "run.form=int8"]


def test_params_yaml_is_the_composition_of_conf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    write_params(tmp_path / "params.yaml", ["seed=14"])
    written = OmegaConf.load(tmp_path / "params.yaml")
    assert isinstance(written, DictConfig)
    parse(written, Settings)
    assert written == OmegaConf.to_container(composed("seed=14"), resolve=True)


def shown() -> list[list[str]]:
    """Return the settings of each experiment that README shows, but for the queued one's lists."""
    runs = [each for section in SECTIONS for each in commands(section) if "exp run" in each]
    words = [shlex.split(each) for each in runs if "--queue" not in each]
    return [[word for flag, word in pairwise(each) if flag == "-S"] for each in words]


@pytest.mark.parametrize("overrides", [[], ["+experiment=sweep"], *shown()], ids=" ".join)
def test_what_readme_shows_is_valid(overrides: list[str]) -> None:
    configured(*overrides)


# What the generated tests below can't know: rules between keys, and the words of a message.
BAD = [
    ("finetune.epochs=many", "finetune.epochs = 'many': .*valid integer"),
    ("~finetune.epochs", "finetune.epochs is not set"),
    ("processes=3", "finetune.batch_size = 32 is not a multiple of processes = 3; use one"),
    ("student.teacher_layers=[0,1]", "teacher_layers must name n_layers = 6 layers"),
    ("distill.class_weights=balanced", "distill.*; raise label_weight above 0"),
    ("data.source.kind=ftp", "'ftp'"),
    ("report.sla_percentile=99 benchmark.rounds=10", "= 99 needs 1000 calls, but .* = 400; raise"),
    (
        "report.sla_percentile=95 benchmark.calls=5 benchmark.tail_calls=5",
        "= 95 needs 200 calls, but .* = 125; raise",
    ),
    ("report.quality=recall", "report.quality = 'recall': .*pattern"),
    ("data.files.test=[] data.test_share=0", "give files.test, or a test_share above 0"),
    ("data.files.validation=[] data.validation_share=0", "give files.validation, or a validat"),
    ("data.encoding=utf9", "data.encoding = 'utf9': unknown encoding: utf9; for example utf-8"),
    ("student.family=distilbert", "init = 'teacher' copies layers, which stay in their own class"),
    ("student.n_layers=null", "n_layers is null, but init = 'teacher' needs a number"),
    ("data=local data.source.path='~/a.csv'", "~ is not expanded here; write the full path"),
    ("data.test_share=0.95", "leave nothing to train on"),
    ("data.label_names=[a,a]", "label_names has a name twice"),
    ("data.label_names=[a,b,c]", "rating_threshold needs two label_names"),
    ("data.columns=[a,a]", "data: columns has a name twice"),
    ("data.files.train=['']", "data.files.train.0 = '': empty pattern"),
    ("data.text=${nowhere}", "data.text can't be resolved .*'nowhere' not found"),
    ("data.text=${data.text}", "data.text can't be resolved .*[Rr]ecursive"),
    ("data.text=${oc.env:NOT_SET}", r"data\.text"),
    ("bf16=false", "bf16 = False: Input should be 'auto', 'on' or 'off'; quote on, off"),
    ("+data.source.path=x", "data.source.path is not a known setting"),
    ("benchmark.sweep.batch_sizes=[2]", "benchmark.sweep: batch_sizes lacks 1"),
    ("quantize.int8.engine=tensorrt", "quantize.int8.*engine = 'tensorrt' is unknown"),
    ("quantize.int8.smoothing=1.5", "quantize.int8.*smoothing = 1.5: .*less than or equal to 1"),
    ("quantize.int8.smoothing=-1", "quantize.int8.*smoothing = -1: .*greater than or equal to 0"),
    ("quantize.int8.per_channel=1", "quantize.int8.*per_channel = 1: .*valid boolean"),
    ("+quantize.int8.bits=4", "quantize.int8.*bits is not a known setting"),
    ("forms=[pytorch,int8,int8]", "has a name twice"),
    ("forms=[onnx,int8]", "lacks pytorch, the baseline"),
    ("forms=[pytorch,onnx,int8,int4]", "forms has 'int4', but quantize.int4 is not set"),
    ("forms=[pytorch,onnx]", "quantize.int8 is set, but forms = .* lacks it"),
    ("benchmark.control=student_int4", "benchmark.control = 'student_int4' is unknown; use one of"),
    ("release.variant=best", "release.variant = 'best' is unknown; use one of recommended"),
    (
        "run.form=int4",
        r"run.form = 'int4' is not one of forms = \['pytorch', 'onnx', 'int8', 'openvino'\]",
    ),
]


@pytest.mark.parametrize(("override", "message"), BAD, ids=[case[0] for case in BAD])
def test_bad_settings_are_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        configured(*override.split(" "))


def test_labels_may_be_given_as_whole_numbers() -> None:
    data = configured("data.label_names=[0,1]").data
    assert data.label_names == ["0", "1"]


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m"])
def test_what_a_terminal_would_obey_is_escaped(name: str) -> None:
    for path in (("data", "source", "kind"), ("data", name), (name,)):
        refused(put(whole("package"), path, name), ())


def test_what_json_can_not_hold_is_refused() -> None:
    for section in ({b"bytes": 1}, {"text": 10**5000}):
        with pytest.raises(InputError):
            parse(OmegaConf.create(put(whole("package"), ("data",), section)), Settings)


@pytest.mark.parametrize(("stage", "key"), [(fetch, "item"), (export, "model")])
def test_a_command_that_lacks_what_it_is_for_names_it(stage: ModuleType, key: str) -> None:
    with pytest.raises(InputError, match=rf"run.{key} is not set; add run.{key}=… to the command"):
        stage.run(configured())


def test_a_lone_surrogate_is_refused() -> None:
    config = composed()
    config.data.text = "\udcff"
    with pytest.raises(InputError, match="the settings are not valid Unicode"):
        parse(config, Settings)


def test_a_missing_path_is_named() -> None:
    with pytest.raises(InputError, match=r"data.source.path is not set; add data.source.path=…"):
        configured("data=local")


# From here on nothing is listed by hand: keys come from the schemas.
SCHEMA = Settings.model_json_schema()
CHOICES = {
    "package": [],
    "local": ["model=local", "model.source.path=x", "data=local", "data.source.path=y"],
    "hub": ["+experiment=post"],
}
Node = tuple[tuple[str | int, ...], dict[str, Any]]  # a key's path and its schema


def whole(choice: str) -> dict[str, Any]:
    """Return a valid config of which every value is set."""
    config = composed(*RUN, *CHOICES[choice])
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(name): section for name, section in container.items()}


def refer(schema: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["$defs"][schema["$ref"].split("/")[-1]] if "$ref" in schema else schema


def walk(value: Any, schema: dict[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[Node]:
    """Yield every key of a valid config: sections, lists, their items and the leaves."""
    schema = refer(schema)
    if "oneOf" in schema:
        schema = refer({"$ref": schema["discriminator"]["mapping"][value["kind"]]})
    if path:
        yield path, schema
    for option in schema.get("anyOf", [schema]):
        for name, child in option.get("properties", {}).items():
            yield from walk(value[name], child, (*path, name))
        for i, item in enumerate(value if "items" in option and isinstance(value, list) else ()):
            yield from walk(item, option["items"], (*path, i))


def put(config: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """Return a copy of `config` with another value at `path`."""
    config = deepcopy(config)
    place: Any = config
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return config


def refused(config: dict[str, Any], path: tuple[str | int, ...]) -> None:
    """Assert that `config` ends in one line that names every part of the key `path`."""
    with pytest.raises(InputError) as caught:
        parse(OmegaConf.create(config), Settings)
    assert len(str(caught.value).splitlines()) == 1
    assert all(str(part) in str(caught.value) for part in path)


@pytest.fixture(scope="module", params=CHOICES)
def valid(request: pytest.FixtureRequest) -> dict[str, Any]:
    return whole(request.param)


@pytest.fixture(scope="module")
def default() -> dict[str, Any]:
    return whole("package")


def test_every_section_has_a_schema(valid: dict[str, Any]) -> None:
    parse(OmegaConf.create(valid), Settings)
    assert set(valid) == set(Settings.model_fields)
    assert {path[0] for path, _ in walk(valid, SCHEMA)} == set(valid)


def test_a_class_keeps_its_underscores_in_the_name_of_its_recall() -> None:
    for quality, name in (("macro_f1", "macro f1"), ("recall_not_spam", "recall not_spam")):
        assert configured(f"report.quality={quality}").report.quality_name == name


def test_every_key_refuses_what_is_never_allowed(default: dict[str, Any]) -> None:
    values = cycle((math.nan, {"unknown": 1}, b"bytes"))
    for (path, _), value in zip(walk(default, SCHEMA), values, strict=False):
        refused(put(default, path, value), path)


def test_an_unknown_key_is_refused_in_every_section(default: dict[str, Any]) -> None:
    refused(default | {"fine_tune": {"epochs": 3}}, ("fine_tune",))
    for path, schema in walk(default, SCHEMA):
        if "properties" in schema:
            refused(put(default, (*path, "epocs"), 3), (*path, "epocs"))


def test_a_key_that_lacks_is_named(default: dict[str, Any]) -> None:
    for path, _ in walk(default, SCHEMA):
        config = deepcopy(default)
        place: Any = config
        for part in path[:-1]:
            place = place[part]
        if isinstance(place, dict):
            del place[path[-1]]
            refused(config, path)
