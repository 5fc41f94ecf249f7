"""torch.nn.functional.scaled_dot_product_attention, with the rest of a module put around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from properties.recognition.adapters import calls, qkv_function
from properties.recognition.adapters.function_shell import Function
from properties.subjects.subject import Subject

SERVES = ("torch.nn.functional.scaled_dot_product_attention",)


def subject(target: Callable[..., Any], family: str | None = None) -> Subject:
    """The subject: is_causal=True in the causal families, dropout_p only in training."""
    name = "torch.nn.functional.scaled_dot_product_attention"
    arguments = ("attn_mask", "is_causal", "scale", "enable_gqa")
    function = Function(
        target,
        name,
        "is_causal",
        "dropout_p",
        arguments=arguments,
        unasked=calls.unasked(a for a in arguments if a != "is_causal"),
    )
    return qkv_function.subject(function, family)
