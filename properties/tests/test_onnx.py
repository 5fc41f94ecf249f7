"""Both oracles against the vectors that ONNX publishes for its operator Attention (opsets 23 to 25).

Its definition is this one: groups in a row, scale, cap, mask, softmax; True means attend; a causal
mask is offset by the past; windows count others besides oneself; rows that see nothing give zeros.
`nonpad_kv_seqlen` hides the end of each item and moves the last query to its last key. Of 93 cases
none is left out and none is disputed.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from properties.basics.dtypes import FORMATS, Array
from properties.tests.calls import used
from properties.truth import bounds, second_oracle, visibility
from properties.truth.attend import attend
from properties.truth.bounds.attend import attending
from properties.truth.request import Request, Seen

INPUTS = ("q", "k", "v", "mask", "past_key", "past_value", "lengths")
ATTRIBUTES = {
    "is_causal",
    "kv_num_heads",
    "left_window_size",
    "q_num_heads",
    "qk_matmul_output_mode",
    "right_window_size",
    "scale",
    "softcap",
    "softmax_precision",  # of how near only: a softmax in float32 where the rest is shorter
}
STAGES = ("scaled", "capped", "logits", "weights")  # by qk_matmul_output_mode


@cache
def onnx_cases() -> dict[str, Any]:
    """ONNX's single-node Attention cases by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case import node

        # Importing an operator's module computes its cases; `collect_testcases` imports them all,
        # which takes ten times as long.
        importlib.import_module(f"{node.__name__}.attention")
    return {
        case.name: case
        for case in node._NodeTestCases
        if len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type == "Attention"
    }


def attributes(case: Any) -> dict[str, Any]:
    """The node's attributes."""
    from onnx.helper import get_attribute_value

    return {a.name: get_attribute_value(a) for a in case.model.graph.node[0].attribute}


def by_name(names: Any, arrays: list[Any], ours: tuple[str, ...]) -> dict[str, Any]:
    """The arrays that are there, by our names; a name left empty has none."""
    there = (name for name, own in zip(ours, names, strict=False) if own)
    return dict(zip(there, arrays, strict=True))


def heads_first(part: Any, heads: int | None) -> Array:
    """(B, T, H * D) or (B, H, T, D) -> (B, H, T, D), in float64."""
    part = np.asarray(part).astype(np.float64)
    if part.ndim == 4 or heads is None:
        return part
    return part.reshape(*part.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def with_past(past: Any, part: Array) -> Array:
    """What came before, and this."""
    return part if past is None else np.concatenate([np.asarray(past, np.float64), part], axis=2)


def request_of(given: dict[str, Any], asked: dict[str, Any], t: int, s: int) -> Request:
    """What a case asks, in our words."""
    visible: Seen = visibility.everything(t, s)
    past = given["past_key"].shape[2] if "past_key" in given else 0
    lengths = given.get("lengths")
    offsets = [past] if lengths is None else [int(length) - t for length in lengths]
    left, right = (asked.get(f"{side}_window_size", -1) for side in ("left", "right"))
    placed = [visibility.window(t, s, left, right, past=offset) for offset in offsets]
    if asked.get("is_causal"):
        placed = [w & visibility.causal(t, s, past=o) for w, o in zip(placed, offsets, strict=True)]
    visible = np.stack(placed)[:, None]
    if lengths is not None:
        visible = visible & (np.arange(s) < np.reshape(lengths, (-1, 1, 1, 1)))
    mask, bias = given.get("mask"), None
    if mask is not None:
        missing = [(0, 0)] * (mask.ndim - 1) + [(0, s - mask.shape[-1])]
        if mask.dtype == np.bool_:
            visible = visible & np.pad(mask, missing)
        else:
            bias = np.pad(mask.astype(np.float64), missing, constant_values=-np.inf)
    return Request(visible, scale=asked.get("scale"), cap=asked.get("softcap"), bias=bias)


def test_every_attribute_and_input_of_onnx_has_its_place_in_the_definition() -> None:
    """A new release that asks for more shows here."""
    cases = onnx_cases().values()
    assert {name for case in cases for name in attributes(case)} == ATTRIBUTES
    assert max(len(case.model.graph.node[0].input) for case in cases) == len(INPUTS)
    assert len(cases) == 93


@dataclass(frozen=True, eq=False)
class Published:
    """A case in our words, with what was published for it."""

    arrays: tuple[Array, Array, Array]  # queries, keys and values, heads first, the past included
    request: Request
    dtype: str
    stage: str
    found: dict[str, Any]
    context: Array

    def share(self, request: Request) -> float:
        """Which share of the bound the published output is off from both oracles."""
        truth = attend(*self.arrays, request)
        second, _, _ = second_oracle.attend(*self.arrays, request)
        allowed = bounds.attend_budget(*self.arrays, request, truth, self.dtype).context
        return max(used(context, self.context, allowed) for context in (truth.context, second))


def published(name: str) -> Published:
    """The case of this name."""
    case = onnx_cases()[name]
    node, asked = case.model.graph.node[0], attributes(case)
    inputs, outputs = (list(map(np.asarray, part)) for part in case.data_sets[0])
    given = by_name(node.input, inputs, INPUTS)
    found = by_name(node.output, outputs, ("y", "present_key", "present_value", "matmul"))
    heads, groups = asked.get("q_num_heads"), asked.get("kv_num_heads")
    q, k, v = (heads_first(given[n], h) for n, h in (("q", heads), ("k", groups), ("v", groups)))
    k, v = with_past(given.get("past_key"), k), with_past(given.get("past_value"), v)
    request = request_of(given, asked, q.shape[2], k.shape[2])
    stage = STAGES[asked.get("qk_matmul_output_mode", 0)]
    dtype = str(given["q"].dtype)
    return Published((q, k, v), request, dtype, stage, found, heads_first(found["y"], heads))


@pytest.mark.parametrize("name", sorted(onnx_cases()))
def test_both_oracles_match_the_vectors_of_onnx(name: str) -> None:
    """Each published output, past included, lies within the error budget of its own format."""
    case = published(name)
    assert case.share(case.request) <= 1.0
    for present, part in zip(("present_key", "present_value"), case.arrays[1:], strict=True):
        if present in case.found:
            assert (case.found[present] == part.astype(case.found[present].dtype)).all()
    if "matmul" in case.found:
        assert stage_share(case) <= 1.0


SAME_SCORES = {
    "test_attention_3d_transpose_verification",
    "test_attention_bidirectional_window",
    "test_attention_causal_boolmask_nan_robustness",
}
"""Cases whose scores are all alike in each row, so that no scale shows."""


@pytest.mark.parametrize("name", sorted(onnx_cases()))
def test_the_vectors_of_onnx_tell_another_scale_a_missing_cap_and_a_missing_mask(name: str) -> None:
    """In float32: a scale by one in a hundred, no cap, nothing hidden."""
    case = published(name)
    if case.dtype != "float32":
        return
    request, wrong = case.request, []
    if name not in SAME_SCORES:
        wrong.append(replace(request, scale=1.01 * request.factor(case.arrays[0].shape[-1])))
    if request.cap is not None:
        wrong.append(replace(request, cap=None))
    if not request.visible.all():
        wrong.append(replace(request, visible=visibility.everything(1, 1)))
    assert all(case.share(other) > 1.0 for other in wrong)


def stage_share(case: Published) -> float:
    """Of what is allowed of a step, where a key is seen; where it is hidden, the last two say so."""
    truth = attend(*case.arrays, case.request)
    steps = [
        attending(FORMATS[name], *case.arrays, case.request, truth)
        for name in (case.dtype, "float64")
    ]
    near, own = (getattr(step, case.stage) for step in steps)
    found = np.asarray(case.found["matmul"]).astype(np.float64)
    hidden = {"logits": -np.inf, "weights": 0.0}
    if case.stage in hidden:
        assert (found[~truth.seen] == hidden[case.stage]).all()
    found = np.where(truth.seen, found, 0.0)
    return used(near.value, found, near.error + own.error)
