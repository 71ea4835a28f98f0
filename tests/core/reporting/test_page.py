from dataclasses import replace

import pandas as pd
import pytest

from stages.core.reporting.accuracy import mistakes
from stages.core.reporting.estimate import Estimate
from stages.core.reporting.page import Findings, headline, hero, page, sustained, warnings
from stages.core.reporting.results import MEASURES
from tests.conftest import configured
from tests.core.reporting.made_up import MS, NAMES, UNDISTURBED, load, predictions, results

QUIET = {
    "others_share": 0.01,
    "stolen_share": 0.0,
    "throttled_periods": 0,
    "cpu_quota": None,
    "governor": "performance",
    "boost": "1",
    "on_battery": False,
    "commit": None,
    "threads": 1,
    "affinity": [0],
}
SPLIT = {
    "rows": 20,
    "largest_class_share": 0.5,
    "tokens_p50": 9,
    "tokens_p99": 20,
    "cut_share": 0.0,
}
STEADY = dict.fromkeys(MEASURES, Estimate(1.02, 0.99, 1.05))
SETTINGS = configured(
    *("report.sla_ms=50", "report.sla_percentile=50", "report.quality=accuracy"),
    *("model.title=MiniLM", "data.title='some *texts*'"),
)


def findings(table: pd.DataFrame) -> Findings:
    """Return made-up findings around a table of results."""
    student, teacher = predictions(14), predictions(1)
    names = [str(name) for name in table.index]
    sweep = {"length": [8, 0], "batch": 1, "ms": 1.0, "texts_per_second": 1e3, "padding": 0.0}
    profile = {"kind": ["attention", "overhead"], "ms": [3.0, 1.0], "slowdown": 1.5}
    curves = {"model": ["teacher", "student"], "epoch": 1.0, "train_loss": 0.5}
    return Findings(
        table=table,
        control=STEADY,
        sweep=pd.concat([pd.DataFrame(sweep).assign(variant=n, calls=6) for n in names]),
        curves=pd.DataFrame(curves).assign(validation_loss=0.4, validation_accuracy=0.9),
        profile=pd.concat([pd.DataFrame(profile).assign(variant=n, **UNDISTURBED) for n in names]),
        load=load({name: MS[name] for name in names}),
        student="student_int8",
        mistakes=mistakes(student, teacher),
        summary="Use student int8.",
        conditions=QUIET,
        config=SETTINGS,
        made={"clauses": 7, "repeated": 2, "overlapping": 1},
        data={"notes": ["train is *a.csv*"], "drawn": ["validation", "test"]}
        | dict.fromkeys(("train", "validation", "test"), SPLIT),
        machine={
            "cores": 2,
            "cpu": "A CPU",
            "instruction_sets": ["avx2"],
            "memory_gib": 8,
            "gpus": [],
        }
        | {"system": "Linux", "python": "3.11", "packages": {"torch": "2"}},
    )


def test_the_page_names_every_variant_the_teacher_and_the_texts(table: pd.DataFrame) -> None:
    text = page(findings(table))
    for name in NAMES:
        assert f"| {name.replace('_', ' ')}" in text
    assert r"The teacher is MiniLM, fine-tuned on some \*texts\*." in text
    assert "Warning" not in text
    assert "Code and settings: unknown commit" in text
    assert "8 GiB, Linux\n" in text


def test_the_page_names_gpus(table: pd.DataFrame) -> None:
    found = findings(table)
    text = page(replace(found, machine=found.machine | {"gpus": ["A GPU", "B GPU"]}))
    assert "Linux, A GPU (unused by what is measured), B GPU (unused by what is measured)\n" in text


def test_the_variants_are_ranked_by_speed_in_the_verdict(table: pd.DataFrame) -> None:
    section = page(findings(table)).split("## The verdict")[1].split("## Latency")[0]
    places = [
        section.index(f"| {name.replace('_', ' ')} ")
        for name in sorted(MS, key=lambda each: MS[each])
    ]
    assert places == sorted(places)


def test_the_ten_surest_mistakes_of_the_student_are_shown(table: pd.DataFrame) -> None:
    found = findings(table)
    text = page(found)
    section = text.split("## What the student gets wrong that the teacher gets right")[1]
    section = section.split("\n## ")[0]
    assert "13 of the 500 test texts: student int8 is wrong" in section
    assert section.count("| text ") == 10
    assert section.index("| text 1 ") < section.index("| text 10 ")
    none = page(replace(found, mistakes=found.mistakes.head(0)))
    assert "student int8 is right wherever teacher pytorch is" in none


def test_the_page_of_few_forms_compares_with_no_other() -> None:
    kept = {name: MS[name] for name in ("teacher_pytorch", "student_pytorch", "student_int8")}
    text = page(findings(results(kept)))
    assert "Exported to ONNX" not in text
    assert "teacher onnx" not in text


def test_the_headline_compares_the_recommended_variant_with_the_teacher(
    table: pd.DataFrame,
) -> None:
    found = headline(table)
    assert found.startswith("95.0% less latency (95.0% to 95.0%; the post: 92%) at 94.7% of the")
    assert found.endswith(
        "student int8, the recommended variant, against the fine-tuned teacher in PyTorch"
    )
    assert hero(table) == {
        "title": "student int8",
        "role": "recommended",
        "figures": [
            ("Latency", "95.0% less", "60.00 → 3.00 ms"),
            ("Accuracy", "94.7% kept", "95.0% → 90.0%"),
            ("Size", "80.0% less", "92 → 18 MB"),
        ],
    }


def test_the_load_is_that_of_the_headlines_variant_and_the_baseline(table: pd.DataFrame) -> None:
    found = findings(table)
    assert sustained(found) == (
        "Within 50 ms (p50, queueing included), student int8 sustains 167 requests a second (83 to "
        "250), teacher pytorch sustains no load"
    )


def test_a_page_that_recommends_the_baseline_compares_it_with_nothing() -> None:
    table = results(recommended="teacher_pytorch")
    found = findings(table)
    assert sustained(found) == (
        "Within 50 ms (p50, queueing included), teacher pytorch sustains no load"
    )
    rows = page(found).split("### Under load")[1].split("## Accuracy")[0].splitlines()
    cells = {line.split("|")[1].strip(): line.split("|")[2:7] for line in rows if "|" in line}
    assert [each.strip() for each in cells["student int8"]] == [
        *("167 (83–250)", "20.0", "167 (83–250)", "20.0", "333")
    ]
    assert [each.strip() for each in cells["teacher pytorch"]] == [*("none", "", "none", "", "17")]
    expected = (
        "student int8 per tensor sustains 80 requests a second (70 to 90) within the SLA (a "
        "trial at that rate measured 40.0 ms): one by one"
    )
    assert f"stages.serve --variant=student_int8_per_tensor`), {expected}" in page(found)


def test_without_a_recommendation_the_headline_is_about_the_fastest_student(
    table: pd.DataFrame,
) -> None:
    table = table.assign(recommended=False)
    expected = "student int8 per tensor, the fastest student (no variant meets the constraints)"
    assert expected in headline(table)
    assert hero(table)["title"] == "student int8 per tensor"
    assert hero(table)["role"] == "no variant qualifies; fastest student"


def test_a_quiet_machine_and_a_steady_control_give_no_warning(table: pd.DataFrame) -> None:
    unknown = QUIET | {"governor": None, "on_battery": None}
    for conditions in QUIET, unknown:
        assert not list(warnings(replace(findings(table), conditions=conditions)))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"others_share": 0.25}, "other programs took 25% of the machine during the benchmark"),
        ({"stolen_share": 0.1}, "the host withheld 10% of the machine"),
        ({"throttled_periods": 3, "cpu_quota": 1.5}, "a CPU quota of 1.5 cores paused"),
        ({"governor": "powersave"}, "governor is powersave"),
        ({"on_battery": True}, "battery"),
    ],
)
def test_a_disturbed_machine_gives_a_warning_at_the_top(
    found: dict, text: str, table: pd.DataFrame
) -> None:
    disturbed = replace(findings(table), conditions=QUIET | found)
    (warning,) = warnings(disturbed)
    assert text in warning
    assert f"> **Warning**: {warning}.\n\n" in page(disturbed).split("less latency")[0]


def test_a_disturbed_profile_a_deviating_control_and_a_changed_pace_give_a_warning(
    table: pd.DataFrame,
) -> None:
    unsteady = table.assign(post_model_speedup_low=16.07, post_model_speedup_high=22.61)
    found = replace(
        findings(unsteady),
        control={"test_label": Estimate(0.96, 0.95, 0.97)},
        profile=findings(table).profile.assign(others_share=0.5),
        load=findings(table).load.assign(others_share=0.4, stolen_share=0.3, throttled_periods=2),
        conditions=QUIET | {"cpu_quota": 1.5},
    )
    control, pace, profile, *under_load = warnings(found)
    assert "differs from its twin by -4.0% on the test sentences, text to label" in control
    assert "the speed-up of student int8 is uncertain, 16.1 to 22.6 times; measure again" in pace
    assert profile == "other programs took 50% of the machine during the profile"
    assert under_load == [
        "other programs took 40% of the machine during the load",
        "the host withheld 30% of the machine during the load",
        "a CPU quota of 1.5 cores paused the load",
    ]


def test_a_classifier_that_may_have_learned_from_the_held_out_texts_gives_a_warning(
    table: pd.DataFrame,
) -> None:
    found = findings(table)
    taken_over = replace(found, curves=found.curves[found.curves["model"] == "student"])
    (warning,) = warnings(taken_over)
    assert "was fine-tuned before, and the texts of validation and test were drawn" in warning
    assert not list(warnings(replace(taken_over, data=found.data | {"drawn": []})))


def test_few_texts_and_a_lost_class_give_a_warning(table: pd.DataFrame) -> None:
    few = table.assign(validation_texts=10)
    few.loc["student_int8", "validation_recall_good"] = 0.1
    said = list(warnings(findings(few)))
    assert any(
        "the validation split has 10 texts, so one text is 10.0% of" in each for each in said
    )
    assert any("student int8 finds 10% of the validation texts of 'good'" in each for each in said)
