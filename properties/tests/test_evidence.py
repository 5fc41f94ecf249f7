"""What a failure shows: the fault's pattern, in plain data, and nothing where there is nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.strategies import COINCIDENCES, pinned_cases
from properties.findings.evidence import VIEWS, evidence, first_off, typical, views
from properties.recognition.targets import find
from properties.subjects.subject import FAMILIES
from properties.zoo.faults import faults

REFERENCES = {
    "plain": "attention:SimplifiedSelfAttention",
    "self": "attention:SelfAttention_v2",
    "causal": "attention:CausalAttention",
    "wrapper": "attention:MultiHeadAttentionWrapper",
    "multihead": "attention:MultiHeadAttention",
    "encoder": "properties.zoo.rights.encoders:VisionAttention",
    "cross": "properties.zoo.rights.contexts:LatentAttention",
}


def case_of(fault: str) -> Case:
    """One token, one head, one number: a case as small as a reduction leaves."""
    broken = faults()[fault]
    subject = find(broken.module, broken.family)[0]
    smallest = pinned_cases(subject)[list(COINCIDENCES).index("one of each")]
    return replace(smallest, dtype="float64")


def shown(fault: str, clause: str) -> tuple[str, set[tuple[int, int]]]:
    """The kind of picture and the cells that are off."""
    found = evidence(clause, case_of(fault))
    assert found is not None
    json.dumps(found, allow_nan=False)
    return found["kind"], {(row, column) for row, column in found["off"]}


def test_a_mask_that_shows_the_next_token_is_off_beside_the_diagonal() -> None:
    """The smallest case has one token, on which nothing could be seen; five tokens show it."""
    kind, off = shown("mask-shows-the-next-token", "causality/future-does-not-change-past")
    assert kind == "leak"
    assert off == {(0, 1), (1, 2), (2, 3), (3, 4)}


def test_a_mask_that_is_discarded_leaks_into_every_earlier_output() -> None:
    """All of the upper triangle, and nothing below."""
    _, off = shown("mask-result-discarded", "causality/future-does-not-change-past")
    assert off == {(row, column) for row in range(5) for column in range(row + 1, 5)}


def test_what_is_wrong_in_eval_is_drawn_in_eval() -> None:
    """Also where the weights are off in training as well."""
    found = evidence("dropout/inert-in-eval", case_of("dropout-scales-in-eval"))
    assert found
    assert found["title"].startswith("Attention weights in eval")


def test_a_mask_of_values_alone_leaks_in_the_gradient() -> None:
    """The values are right, the way back is open."""
    kind, off = shown("mask-of-values-alone", "causality/future-gradient-is-zero")
    assert kind == "leak"
    assert off == {(row, column) for row in range(5) for column in range(row + 1, 5)}


def test_a_window_shows_on_a_long_sequence() -> None:
    """Five tokens fit into a window of eight; twelve do not."""
    found = evidence("causality/every-past-token-is-seen", case_of("window-of-eight"))
    assert found is not None
    assert found["title"].startswith("Attention weights")
    assert {row for row, _ in found["off"]} == set(range(8, 12))
    assert found["actual"][9][0] == 0.0 < found["expected"][9][0]


def test_a_missing_scale_is_off_wherever_a_query_sees_two_keys() -> None:
    """Its first row sees one key, whose weight is one at any scale."""
    kind, off = shown("scale-absent", "weights/log-odds-are-scaled-score-differences")
    assert kind == "weights"
    assert {row for row, _ in off} == {1, 2, 3, 4}


def test_survivors_that_are_not_scaled_are_compared_with_what_they_should_be() -> None:
    """P = 0.5 doubles; a dropped weight is zero on both sides."""
    case = replace(case_of("dropout-unscaled"), dropout=0.5)
    found = evidence("dropout/survivors-are-exactly-scaled", case)
    assert found is not None
    for row, column in found["off"]:
        assert found["expected"][row][column] == pytest.approx(2 * found["actual"][row][column])


def test_merged_heads_are_shown_in_the_output_and_a_detached_key_in_gradients() -> None:
    """Each area has its most telling picture first."""
    assert shown("merge-without-transpose", "heads/split-equals-per-head-matmul")[0] == "output"
    assert shown("keys-detached", "gradient/gradcheck")[0] == "gradient"


def test_what_is_no_number_is_written_out() -> None:
    """JSON has neither NaN nor infinity."""
    case = case_of("softmax-without-maximum")
    x, ones = np.full_like(case.x, 2.0**12), np.ones((case.sizes.d_in, 1))
    weights = replace(case.weights, query=ones, key=ones)
    found = evidence("weights/rows-sum-to-one", replace(case, x=x, weights=weights))
    assert found is not None
    assert found["own"]
    assert found["actual"] == [["nan"]]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_right_implementation_shows_nothing(family: str) -> None:
    """No view has a cell that is off, in the widest format and in the shortest."""
    subject = find(REFERENCES[family], family)[0]
    asked = {view for area in VIEWS for view in views(f"{area}/any")}
    asked |= {*views("causality/future"), *views("causality/gradient"), *views("gradient/any")}
    for dtype in {subject.dtypes[0], subject.dtypes[-1]}:
        case = replace(pinned_cases(subject)[1], dtype=dtype)
        pictures = [picture for view in asked for picture in view(typical(case))]
        assert pictures
        assert [picture.title for picture in pictures if picture.off.any()] == []


def test_a_subject_that_raises_or_has_another_shape_shows_nothing() -> None:
    """What it raised is in the message; where it raises there is no picture."""

    def raises(case: Case) -> list[object]:
        raise SubjectError("no")

    case = case_of("wrapper-sums-heads")
    assert first_off(raises, case) is None
    assert evidence("heads/wrapper-width", case) is None


def test_areas_that_no_grid_can_show_have_none() -> None:
    """Errors, shapes and states are told in words."""
    assert not views("error/too-many-tokens")
    assert not views("state/pickle")
