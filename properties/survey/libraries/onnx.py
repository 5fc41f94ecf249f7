"""ONNX's Attention, in onnx's own evaluator, which defines it, and in onnxruntime."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from properties.survey.lines import Line

LINES = tuple(
    Line(library, f"Attention 23, {where}", f"{__name__}:{name}_attention", needs=("onnx",))
    for library, where, name in (
        ("onnx", "reference evaluator", "evaluated"),
        ("onnx", "reference evaluator, but float64", "evaluated_narrow"),
        ("onnxruntime", "on the CPU", "runtime"),
        ("onnxruntime", "on the CPU, but float64", "runtime_narrow"),
    )
)
Heads = NDArray[Any]


def evaluated_attention(
    query: Heads,
    key: Heads,
    value: Heads,
    attn_mask: Heads | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    softcap: float = 0.0,
) -> Heads:
    """By the evaluator that is the operator's definition in code."""
    feeds, options = asked(query, key, value, attn_mask, is_causal, scale, softcap)
    context: Heads = evaluator(*options).run(None, feeds)[0]
    return context


def runtime_attention(
    query: Heads,
    key: Heads,
    value: Heads,
    attn_mask: Heads | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    softcap: float = 0.0,
) -> Heads:
    """By onnxruntime's kernel for the CPU."""
    feeds, options = asked(query, key, value, attn_mask, is_causal, scale, softcap)
    context: Heads = session(*options).run(None, feeds)[0]
    return context


def narrow(attention: Callable[..., Heads]) -> Callable[..., Heads]:
    """The same without float64, of which these keep a scale in float32: findings tell of it."""

    @functools.wraps(attention)
    def without(query: Heads, *others: Any, **told: Any) -> Heads:
        if query.dtype == np.float64:
            raise TypeError("float64 is left out here")
        return attention(query, *others, **told)

    return without


evaluated_narrow_attention, runtime_narrow_attention = map(
    narrow, (evaluated_attention, runtime_attention)
)


def asked(
    query: Heads,
    key: Heads,
    value: Heads,
    mask: Heads | None,
    causal: bool,
    scale: float | None,
    cap: float,
) -> tuple[dict[str, Heads], tuple[Any, ...]]:
    """The inputs by name, and what the model depends on: their types and the node's attributes."""
    feeds = {"Q": query, "K": key, "V": value} | ({} if mask is None else {"attn_mask": mask})
    feeds = {name: np.ascontiguousarray(part) for name, part in feeds.items()}
    named = {"is_causal": int(causal), "scale": scale, "softcap": float(cap)}
    kept = tuple((name, number) for name, number in named.items() if number is not None)
    return feeds, (tuple((name, part.dtype) for name, part in feeds.items()), kept)


@cache
def model(inputs: tuple[tuple[str, Any], ...], attributes: tuple[tuple[str, Any], ...]) -> Any:
    """One node, of four axes of any length."""
    from onnx import checker, helper

    types = {name: helper.np_dtype_to_tensor_dtype(dtype) for name, dtype in inputs}
    node = helper.make_node("Attention", list(types), ["Y"], **dict(attributes))
    shaped = [helper.make_tensor_value_info(n, t, [None] * 4) for n, t in types.items()]
    output = helper.make_tensor_value_info("Y", types["Q"], [None] * 4)
    graph = helper.make_graph([node], "attention", shaped, [output])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
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
