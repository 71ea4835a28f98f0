import math
from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from stages import (
    benchmark,
    distill,
    evaluate,
    export,
    fetch,
    finetune,
    prepare,
    quantize,
    release,
)
from stages.core.launch.errors import InputError
from stages.core.launch.parse import parse
from stages.core.launch.settings import Settings, check
from stages.tools.params import write_params
from tests.conftest import composed

ROOT = Path(__file__).parents[3]
SELECTORS = [
    "fetch.item=encoder",
    "export.model=teacher",
    "quantize.model=teacher",
    "evaluate.variant=student_int8",
]
SELECTED = [tuple(selector.split("=")[0].split(".")) for selector in SELECTORS]
STAGES = [fetch, prepare, finetune, distill, export, quantize, evaluate, benchmark, release]


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
        ["+experiment=depth"],
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
    (benchmark, "benchmark.sweep.batch_sizes=[2]", "benchmark.sweep: batch_sizes lacks 1"),
    (benchmark, "benchmark.calls=4294967296", "benchmark.calls = 4294967296: .*less than"),
    (prepare, "data.columns=[a,a]", "data: columns has a name twice"),
    (prepare, "data.files.train=['']", "data.files.train.0 = '': empty pattern"),
    (prepare, "data.text=${nowhere}", "data.text can't be resolved .*'nowhere' not found"),
    (prepare, "data.text=${data.text}", "data.text can't be resolved .*[Rr]ecursive"),
    (prepare, "+data.local=1", "data.local is not a known setting"),
    (prepare, "+data.source.path=x", "data.source.path is not a known setting"),
    (fetch, "data.source.kind=null", "data.source: .*'kind'"),
]


@pytest.mark.parametrize(("stage", "override", "message"), BAD, ids=[case[1] for case in BAD])
def test_bad_settings_are_named(stage: ModuleType, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(composed(*SELECTORS, override), stage.Config)


@pytest.mark.parametrize(
    "value", ["${nowhere}", "${data.text}", "${oc.env:NOT_SET}", "${unknown:1}"]
)
def test_what_can_not_be_resolved_is_named_by_the_first_stage(value: str) -> None:
    config = whole("package")
    config["data"]["text"] = value
    with pytest.raises(InputError, match=r"data\.text"):
        check(OmegaConf.create(config))


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m"])
def test_what_a_terminal_would_obey_is_escaped(name: str) -> None:
    for path in (("data", "source", "kind"), ("data", name), (name,)):
        refused(put(whole("package"), path, name), ())


def test_what_json_can_not_hold_is_refused() -> None:
    for section in ({b"bytes": 1}, {"text": 10**5000}):
        with pytest.raises(InputError):
            check(OmegaConf.create(put(whole("package"), ("data",), section)))


def test_a_missing_selector_is_named() -> None:
    with pytest.raises(InputError, match=r"export.model is not set; add export.model=…"):
        parse(composed(), export.Config)


def test_a_lone_surrogate_is_refused() -> None:
    config = composed()
    config.data.text = "\udcff"
    with pytest.raises(InputError, match="the settings hold what is no Unicode text"):
        parse(config, prepare.Config)


def test_a_missing_path_is_named() -> None:
    with pytest.raises(InputError, match=r"data.source.path is not set; add data.source.path=…"):
        parse(composed("data=local"), prepare.Config)


# From here on nothing is listed by hand: keys, and what is wrong for them, come from the schemas.
SCHEMA = TypeAdapter(Settings).json_schema()
CHOICES = {
    "package": [],
    "local": ["model=local", "model.source.path=x", "data=local", "data.source.path=y"],
    "hub": ["+experiment=post"],
}
PLAIN = st.text(st.characters(exclude_characters="$?", codec="utf-8"), max_size=8)
Node = tuple[tuple[str | int, ...], dict[str, Any]]  # a key's path and its schema


def whole(choice: str) -> dict[str, Any]:
    """Return a valid config with every selector set."""
    config = composed(*SELECTORS, *CHOICES[choice])
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
        for i, item in enumerate(value if "items" in option and value else ()):
            yield from walk(item, option["items"], (*path, i))


def wrong(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that a key's schema does not allow: of another type, or out of its range."""
    if "anyOf" in schema:  # a type or null
        (schema,) = (option for option in schema["anyOf"] if option["type"] != "null")
        return wrong(schema).filter(lambda value: value is not None)
    kind = schema.get("type", "enum")
    ways: list[st.SearchStrategy[Any]] = [
        st.sampled_from([None, math.nan, math.inf, -math.inf, {"unknown": 1}, [[None]]])
    ]
    types: list[tuple[tuple[str, ...], st.SearchStrategy[Any]]] = [
        (("string", "enum"), PLAIN),
        (("boolean",), st.booleans()),
        (("number", "integer"), st.integers(-(2**40), 2**40)),
        (("number",), st.floats(0.1, 0.9)),
        (("array",), st.just([])),
    ]
    ways += [values for kinds, values in types if kind not in kinds]
    if "enum" in schema or "const" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        ways.append(PLAIN.filter(lambda text: text not in allowed))
    if "pattern" in schema:
        ways.append(PLAIN.map(lambda text: f"! {text}"))
    if schema.get("minItems") or schema.get("minLength"):
        ways.append(st.just([] if kind == "array" else ""))
    beyond = st.integers(1, 10**6)
    for key, direction in ("minimum", -1), ("maximum", 1):
        if key in schema:
            ways.append(beyond.map(partial(_away, schema[key], direction)))
        if (edge := f"exclusive{key.capitalize()}") in schema:
            ways += [st.just(schema[edge]), beyond.map(partial(_away, schema[edge], direction))]
    return st.one_of(ways)


def _away(edge: float, direction: int, distance: int) -> float:
    return edge + direction * distance


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
        check(OmegaConf.create(config))
    assert str(caught.value).isprintable()
    assert all(str(part) in str(caught.value) for part in path)


@pytest.fixture(scope="module", params=CHOICES)
def valid(request: pytest.FixtureRequest) -> dict[str, Any]:
    return whole(request.param)


@pytest.fixture(scope="module")
def default() -> dict[str, Any]:
    return whole("package")


def test_every_section_has_a_schema(valid: dict[str, Any]) -> None:
    check(OmegaConf.create(valid))
    assert set(valid) == set(Settings.__dataclass_fields__)
    assert {path[0] for path, _ in walk(valid, SCHEMA)} == set(valid)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_what_a_key_does_not_allow_is_refused_by_name(
    valid: dict[str, Any], data: st.DataObject
) -> None:
    path, schema = data.draw(st.sampled_from(list(walk(valid, SCHEMA))))
    value = data.draw(wrong(schema))
    refused(put(valid, path, value), path)


def test_every_key_refuses_what_is_never_allowed(default: dict[str, Any]) -> None:
    for path, _ in walk(default, SCHEMA):
        for value in (math.nan, {"unknown": 1}, b"bytes"):
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
        if isinstance(place, dict) and path not in SELECTED:
            del place[path[-1]]
            refused(config, path)


def test_selectors_may_be_unset_in_the_whole_but_nothing_else(default: dict[str, Any]) -> None:
    for path in SELECTED:
        check(OmegaConf.create(put(default, path, "???")))
    refused(put(default, ("model", "max_length"), "???"), ("model", "max_length"))
