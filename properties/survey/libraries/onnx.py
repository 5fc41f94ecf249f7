"""ONNX's Attention, in onnx's own evaluator, which defines it, and in onnxruntime.

Opset 24 adds how many keys of an item are there, opset 25 a window.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from properties.survey.lines import Line

INPUTS = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")
"""In the operator's order: one that is left out keeps its place, empty."""
Heads = NDArray[Any]
Attention = Callable[..., Heads]
Run = Callable[[int, Mapping[str, Any], Mapping[str, Any]], Heads]
PLACES = ("onnx", "reference evaluator", "evaluated"), ("onnxruntime", "on the CPU", "runtime")


def evaluated(opset: int, inputs: Mapping[str, Any], attributes: Mapping[str, Any]) -> Heads:
    """By the evaluator that is the operator's definition in code."""
    feeds, options = asked(inputs, attributes)
    context: Heads = evaluator(opset, *options).run(None, feeds)[0]
    return context


def runtime(opset: int, inputs: Mapping[str, Any], attributes: Mapping[str, Any]) -> Heads:
    """By onnxruntime's kernel for the CPU."""
    feeds, options = asked(inputs, attributes)
    context: Heads = session(opset, *options).run(None, feeds)[0]
    return context


def opset_23(run: Run) -> Attention:
    """A mask or a bias, the causal flag, a scale and a cap."""

    def attention(
        query: Heads,
        key: Heads,
        value: Heads,
        attn_mask: Heads | None = None,
        is_causal: bool = False,
        scale: float | None = None,
        softcap: float = 0.0,
    ) -> Heads:
        return run(23, tensors(query, key, value, attn_mask), numbers(is_causal, scale, softcap))

    return attention


def opset_24(run: Run) -> Attention:
    """The same, and how many keys of each item are no padding."""

    def attention(
        query: Heads,
        key: Heads,
        value: Heads,
        attn_mask: Heads | None = None,
        is_causal: bool = False,
        scale: float | None = None,
        softcap: float = 0.0,
        nonpad_kv_seqlen: NDArray[np.int64] | None = None,
    ) -> Heads:
        inputs = tensors(query, key, value, attn_mask) | {"nonpad_kv_seqlen": nonpad_kv_seqlen}
        return run(24, inputs, numbers(is_causal, scale, softcap))

    return attention


def opset_25(run: Run) -> Attention:
    """The same, and how many keys before and after its own a query sees."""

    def attention(
        query: Heads,
        key: Heads,
        value: Heads,
        attn_mask: Heads | None = None,
        is_causal: bool = False,
        scale: float | None = None,
        softcap: float = 0.0,
        nonpad_kv_seqlen: NDArray[np.int64] | None = None,
        window_size: tuple[int, int] = (-1, -1),
    ) -> Heads:
        inputs = tensors(query, key, value, attn_mask) | {"nonpad_kv_seqlen": nonpad_kv_seqlen}
        sides = dict(zip(("left_window_size", "right_window_size"), window_size, strict=True))
        return run(25, inputs, numbers(is_causal, scale, softcap) | sides)

    return attention


def tensors(query: Heads, key: Heads, value: Heads, attn_mask: Heads | None) -> dict[str, Any]:
    """What every opset takes, by the operator's names."""
    return {"Q": query, "K": key, "V": value, "attn_mask": attn_mask}


def numbers(is_causal: bool, scale: float | None, softcap: float) -> dict[str, Any]:
    """The attributes of every opset."""
    return {"is_causal": int(is_causal), "scale": scale, "softcap": float(softcap)}


def narrow(attention: Attention) -> Attention:
    """The same without float64, of which these keep a scale in float32: findings tell of it."""

    @functools.wraps(attention)
    def without(query: Heads, *others: Any, **told: Any) -> Heads:
        if query.dtype == np.float64:
            raise TypeError("float64 is left out here")
        return attention(query, *others, **told)

    return without


evaluated_attention, evaluated_attention_24, evaluated_attention_25 = (
    of(evaluated) for of in (opset_23, opset_24, opset_25)
)
runtime_attention, runtime_attention_24, runtime_attention_25 = (
    of(runtime) for of in (opset_23, opset_24, opset_25)
)
evaluated_narrow_attention, evaluated_narrow_attention_24, evaluated_narrow_attention_25 = map(
    narrow, (evaluated_attention, evaluated_attention_24, evaluated_attention_25)
)
runtime_narrow_attention, runtime_narrow_attention_24, runtime_narrow_attention_25 = map(
    narrow, (runtime_attention, runtime_attention_24, runtime_attention_25)
)
LINES = tuple(
    Line(
        library,
        f"Attention {opset}, {where}{but}",
        f"{__name__}:{name}{left_out}_attention{of}",
        needs=("onnx",),
    )
    for library, where, name in PLACES
    for opset, of in ((23, ""), (24, "_24"), (25, "_25"))
    for but, left_out in (("", ""), (", but float64", "_narrow"))
)


def asked(
    inputs: Mapping[str, Any], attributes: Mapping[str, Any]
) -> tuple[dict[str, Heads], tuple[Any, ...]]:
    """The inputs that are given, and what the model depends on: their types and the node's attributes."""
    feeds = {n: np.ascontiguousarray(part) for n, part in inputs.items() if part is not None}
    types = tuple((name, part.dtype) for name, part in feeds.items())
    kept = tuple((name, number) for name, number in attributes.items() if number is not None)
    return feeds, (types, kept)


@cache
def model(
    opset: int, inputs: tuple[tuple[str, Any], ...], attributes: tuple[tuple[str, Any], ...]
) -> Any:
    """One node, of four axes of any length."""
    from onnx import checker, helper

    types = {name: helper.np_dtype_to_tensor_dtype(dtype) for name, dtype in inputs}
    last = max(map(INPUTS.index, types))
    places = [name if name in types else "" for name in INPUTS[: last + 1]]
    node = helper.make_node("Attention", places, ["Y"], **dict(attributes))
    axes = {name: 1 if name == "nonpad_kv_seqlen" else 4 for name in types}
    shaped = [helper.make_tensor_value_info(n, t, [None] * axes[n]) for n, t in types.items()]
    output = helper.make_tensor_value_info("Y", types["Q"], [None] * 4)
    graph = helper.make_graph([node], "attention", shaped, [output])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    checker.check_model(made)
    return made


@cache
def evaluator(*options: Any) -> Any:
    """The model in onnx's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model(*options))


@cache
def session(*options: Any) -> Any:
    """The model in onnxruntime."""
    import onnxruntime

    return onnxruntime.InferenceSession(
        model(*options).SerializeToString(), providers=["CPUExecutionProvider"]
    )
