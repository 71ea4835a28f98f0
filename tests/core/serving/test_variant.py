from hypothesis import given
from hypothesis import strategies as st

from stages.core.serving.variant import ROLES, Variant, variants

FORMS = st.from_regex(r"[a-z0-9_]+", fullmatch=True)


@given(model=st.sampled_from(ROLES), form=FORMS)
def test_a_name_stands_for_one_variant_whatever_the_form_is_called(model: str, form: str) -> None:
    variant = Variant(model, form)
    assert Variant.named(variant.name) == variant
    assert variant.directory.parts[-2:] == (model, form)


def test_the_teacher_comes_first_and_forms_keep_their_order() -> None:
    names = [variant.name for variant in variants(["pytorch", "int8_per_tensor"])]
    assert names == [
        *("teacher_pytorch", "teacher_int8_per_tensor"),
        *("student_pytorch", "student_int8_per_tensor"),
    ]
    assert Variant("student", "int8_per_tensor").title == "student int8 per tensor"
