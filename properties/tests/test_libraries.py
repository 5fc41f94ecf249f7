"""Habits of libraries are no faults, and what cannot be asked of them is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.subjects.subject import Subject

DATA = Path(__file__).parent / "data" / "libraries.py"
ORACLE = ["oracle/output-within-bound"]


def found(name: str) -> Subject:
    """One of the classes."""
    return find_one(f"{DATA}:{name}")


@pytest.mark.parametrize(
    "name", ["OfSettings", "OptionalSettings", "AnglesHandedIn", "NamesAlone", "NarrowInside"]
)
def test_the_matrices_of_a_library_s_class_are_found(name: str) -> None:
    """By settings under two names, with angles handed in, called by name alone."""
    subject = found(name)
    assert subject.has("projections")
    assert "float64" in subject.dtypes


def test_a_module_of_heads_is_asked_as_a_function_is() -> None:
    """It has no matrices of its own."""
    assert found("OfHeads").has("function")


def test_norms_are_taken_out_and_told() -> None:
    """All else is asked, and a fault behind them seen."""
    subject = found("Normed")
    assert {"norm", "q_norm", "k_norm"} <= subject.unasked.keys()
    assert run(subject, profile="quick", only=ORACLE).right
    assert run(found("NormedScaledTwice"), profile="quick", only=ORACLE).wrong


@pytest.mark.parametrize(
    ("name", "scaled"),
    [
        ("WithoutScale", False),
        ("AnglesWithoutScale", False),
        ("ScaleForgotten", True),
        ("ScaleOfOneUnused", True),
    ],
)
def test_scores_are_unscaled_where_a_scale_of_one_is_kept_and_used(name: str, scaled: bool) -> None:
    """A scale that is only missing is a fault."""
    assert found(name).scaled is scaled


def test_unscaled_scores_are_held_to_the_formula_without_a_scale() -> None:
    """The module that says so is right, the one that forgets it is not."""
    assert run(found("WithoutScale"), profile="quick", only=ORACLE).right
    assert run(found("AnglesWithoutScale"), profile="quick", only=ORACLE).right
    assert run(found("ScaleForgotten"), profile="quick", only=ORACLE).wrong


def test_a_switch_that_hides_nothing_of_x_alone_is_not_asked() -> None:
    """The future is hidden by a mask that is handed in."""
    subject = found("Switched")
    assert subject.family == "encoder"
    assert "is_causal" in subject.unasked
    assert subject.takes["bias"] == "attention_mask"


def test_a_mask_of_pairs_for_all_items_is_told_one_item_after_the_other() -> None:
    """Each with a mask of its own."""
    subject = found("MaskOfPairs")
    assert isinstance(subject, ModuleSubject)
    assert subject.manner.pairs["mask"] == "T T"
    assert subject.conventions.mask == "attend"


def test_a_mask_that_is_a_flag_is_not_asked_as_a_mask() -> None:
    """Any mask hides the future."""
    subject = found("MaskAsFlag")
    assert "mask" not in subject.takes
    assert "mask" in subject.unasked


def test_keys_need_no_bias() -> None:
    """One adds the same to all scores of a query."""
    subject = found("KeysWithoutBias")
    assert "bias" in subject.unasked
    assert not subject.has("always-biased")


def test_one_head_without_an_output_projection_is_left_out() -> None:
    """Two heads or more are asked."""
    subject = found("OneHeadUnprojected")
    assert subject.limits.least_heads == 2
    assert run(subject, profile="quick", only=ORACLE).right


PARAMETERS = [
    "shape/parameter-shapes-and-count",
    "gradient/every-parameter-receives-gradient",
    "oracle/gradient-within-bound",
]


def test_keys_may_have_no_bias_where_no_argument_rules_biases() -> None:
    """Softmax takes a bias of keys out again."""
    assert run(found("KeysNeverBiased"), profile="quick", only=PARAMETERS).right


def test_where_keys_have_no_bias_that_of_the_output_projection_is_still_seen() -> None:
    """It is no parameter too many."""
    subject = found("OutputAlwaysBiased")
    assert subject.has("out-bias")
    assert run(subject, profile="quick", only=PARAMETERS[:1]).failed == []


def test_a_bias_of_values_that_nobody_asked_for_is_one_parameter_too_many() -> None:
    """It is counted; which gradient it has is not asked."""
    report = run(found("ValuesAlwaysBiased"), profile="quick", only=PARAMETERS)
    assert report.failed == PARAMETERS[:1]
