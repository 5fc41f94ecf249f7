"""Functions as kernels are: in half precision alone, for some widths of heads alone, on a device alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from properties import check
from properties.basics.errors import QuestionError
from properties.recognition.adapters import widths
from properties.recognition.asking import on_device
from properties.recognition.asking.on_device import OnDevice
from properties.recognition.targets import find_one
from properties.runs.result import Report, Status

HALF = (torch.float16, torch.bfloat16)


def attend(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float | None) -> Tensor:
    """Torch's own."""
    return scaled_dot_product_attention(query, key, value, is_causal=causal, scale=scale)


def half_alone(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """As flash attention is."""
    if query.dtype not in HALF:
        raise RuntimeError("FlashAttention only support fp16 and bf16 data type")
    return attend(query, key, value, is_causal, scale)


def bfloat16_alone(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """With an assertion that says nothing."""
    assert query.dtype == torch.bfloat16
    return attend(query, key, value, is_causal, scale)


def no_float64(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """As most kernels are."""
    if query.dtype == torch.float64:
        raise ValueError("expected float32, float16 or bfloat16")
    return attend(query, key, value, is_causal, scale)


def eights(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """Vectors of eight numbers."""
    if query.shape[-1] % 8:
        raise ValueError(f"head_dim {query.shape[-1]} is no multiple of 8")
    return attend(query, key, value, is_causal, scale)


def powers(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """Blocks whose size is known when the kernel is compiled."""
    assert query.shape[-1] in {16, 32, 64, 128}
    return attend(query, key, value, is_causal, scale)


def half_of_sixty_four(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """One width, in half precision."""
    if query.dtype not in HALF or query.shape[-1] != 64:
        raise RuntimeError("No available kernel. Aborting execution.")
    return attend(query, key, value, is_causal, scale)


def several_queries(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """Declines what it has no kernel for, call by call."""
    if query.shape[2] == 1:
        raise RuntimeError("No available kernel. Aborting execution.")
    return attend(query, key, value, is_causal, scale)


def masks_of_many(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """Declines small masks."""
    if attn_mask is not None and query.shape[2] < 3:
        raise NotImplementedError("masks of fewer than three queries")
    return scaled_dot_product_attention(query, key, value, attn_mask, is_causal=is_causal)


RIGHT = {
    half_alone: ("float16, bfloat16", ""),
    bfloat16_alone: ("bfloat16", ""),
    no_float64: ("float32, float16, bfloat16", ""),
    eights: ("float64, float32, float16, bfloat16", "a multiple of 8"),
    powers: ("float64, float32, float16, bfloat16", "a power of two from 16 to 128"),
    half_of_sixty_four: ("float16, bfloat16", "64 alone"),
    several_queries: ("float64, float32, float16, bfloat16", ""),
    masks_of_many: ("float64, float32, float16, bfloat16", ""),
}


def run(target: Callable[..., Any]) -> Report:
    return check(target, profile="quick", seed=0)


@pytest.mark.parametrize("target", RIGHT, ids=lambda one: one.__name__)
def test_a_right_kernel_is_right_in_what_it_takes(target: Callable[..., Any]) -> None:
    formats, head_dim = RIGHT[target]
    subject = find_one(target)
    assert set(subject.dtypes) == set(formats.split(", "))
    assert subject.limits.widths == head_dim
    report = run(target)
    assert report.conforms, report.failed
    assert sum(result.status is Status.PASS for result in report.results) > 70


def scaled_by_the_width(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """1 / D."""
    scale = 1.0 / query.shape[-1] if scale is None else scale
    return half_alone(query, key, value, is_causal, scale)


def shows_the_next(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """The diagonal one token late, in half precision."""
    if query.dtype not in HALF or not is_causal:
        return half_alone(query, key, value, False, scale)
    seen = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril(1)
    return scaled_dot_product_attention(query, key, value, seen, scale=scale)


def scaled_by_the_padded_width(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """Filled up to a power of two, whose root is then taken."""
    width = query.shape[-1]
    more = 2 ** (width - 1).bit_length() - width
    parts = (pad(part, (0, more)) for part in (query, key, value))
    return eights(*parts, is_causal, scale)[..., :width]


def first_block_of_columns(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """Scores of the first 32 columns alone."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    context = powers(query[..., :32], key[..., :32], value[..., :32], is_causal, scale)
    others = [
        powers(query[..., :32], key[..., :32], value[..., start : start + 32], is_causal, scale)
        for start in range(32, query.shape[-1], 32)
    ]
    return torch.cat([context, *others], -1)


def mask_one_key_on(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """Each column of a boolean mask read for the key before."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = attn_mask.roll(1, -1)
    return masks_of_many(query, key, value, attn_mask, is_causal)


WRONG = {
    scaled_by_the_width: "scale 1/head_dim",
    shows_the_next: "causal shows the next token",
    scaled_by_the_padded_width: "",
    first_block_of_columns: "",
    mask_one_key_on: "",
}


@pytest.mark.parametrize("target", WRONG, ids=lambda one: one.__name__)
def test_a_wrong_kernel_is_told(target: Callable[..., Any]) -> None:
    report = run(target)
    assert report.exit_code == 1
    named = [name for result in report.results for name in result.behaves_like]
    assert any(name.startswith(WRONG[target]) for name in named) or not WRONG[target], named


def test_what_meets_another_format_inside_is_no_refusal() -> None:
    def mixes(query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False) -> Tensor:
        weights = scaled_dot_product_attention(
            query,
            key,
            torch.eye(key.shape[2]).to(key).expand(*key.shape[:3], -1),
            is_causal=is_causal,
        )
        return weights.float() @ value

    subject = find_one(mixes)
    assert subject.refused == ()
    assert "shape/dtype-preserved" in check(subject, profile="quick").failed


@pytest.mark.parametrize(
    ("failure", "refusal"),
    [
        ("raised ValueError: head_dim must be 64", True),
        ("raised AssertionError (kernel.py:3)", True),
        ("raised RuntimeError: \"attention\" not implemented for 'Double'", True),
        ("raised RuntimeError: expected scalar type Float but found Double", False),
        ("raised RuntimeError: expected m1 and m2 to have the same dtype, but got: double", False),
        ("raised IndexError: index 4 is out of bounds", False),
        ("raised ValueError: cannot reshape array of size 15 into shape (5,1,2)", False),
        ("raised ValueError: operands could not be broadcast together", False),
    ],
)
def test_words_of_its_own_are_a_refusal(failure: str, refusal: bool) -> None:
    assert widths.says_no(failure) is refusal


def test_calls_that_are_declined_are_told() -> None:
    report = run(several_queries)
    [note] = [note for note in report.notes if "does not support" in note]
    assert "No available kernel" in note
    not_asked = [r for r in report.results if "cannot take" in r.message]
    assert any("No available kernel" in result.message for result in not_asked)


class There(Tensor):
    """A tensor that lies on another device."""


def on_a_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """As a kernel that takes such tensors alone."""

    def kernel(query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False) -> Any:
        if not all(isinstance(part, There) for part in (query, key, value)):
            raise RuntimeError("CUDA error: expected tensors on the device")
        return function(query, key, value, is_causal)

    return kernel


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with such a device."""
    monkeypatch.setattr(on_device, "there_is_one", lambda: True)
    monkeypatch.setattr(OnDevice, "sent", lambda self, part: part.clone().as_subclass(There))
    monkeypatch.setattr(OnDevice, "home", lambda self, part: part.as_subclass(Tensor))


@pytest.mark.usefixtures("device")
def test_a_kernel_of_a_device_is_asked_there() -> None:
    subject = find_one(on_a_device(lambda q, k, v, causal: attend(q, k, v, causal, None)))
    assert "it refuses tensors on the CPU: they are copied to cuda and back" in subject.notes
    report = check(subject, profile="quick")
    assert report.conforms, report.failed


def late(query: Tensor, key: Tensor, value: Tensor, is_causal: bool) -> Tensor:
    """The diagonal one token late."""
    seen = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril(1 if is_causal else 99)
    return scaled_dot_product_attention(query, key, value, seen)


def divided_in_place(query: Tensor, key: Tensor, value: Tensor, is_causal: bool) -> Tensor:
    """Queries that are scaled where they lie."""
    with torch.no_grad():
        query *= query.shape[-1] ** -0.5
    return attend(query, key, value, is_causal, 1.0)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    ("function", "clause"),
    [
        (late, "causality/future-does-not-change-past"),
        (divided_in_place, "state/queries-keys-and-values-untouched"),
    ],
)
def test_a_wrong_kernel_of_a_device_is_told(function: Callable[..., Any], clause: str) -> None:
    assert clause in check(on_a_device(function), profile="quick").failed


def test_without_the_device_the_refusal_says_so() -> None:
    with pytest.raises(QuestionError, match="CUDA error") as refusal:
        find_one(on_a_device(late))
    assert "on the CPU" in str(refusal.value)


def test_what_is_copied_is_laid_as_it_was() -> None:
    def strides(part: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        return part + 1, part.stride()

    part = torch.zeros(2, 3, 4).transpose(1, 2)
    moved, laid = OnDevice(strides, "cpu")(part)
    assert laid == part.stride()
    assert bool((moved == 1).all())


def test_several_widths_are_asked() -> None:
    def asked(target: Callable[..., Any]) -> set[int]:
        return {find_one(target).limits.varied(wanted) for wanted in range(1, 10)}

    assert asked(eights) == {8, 16, 24}
    assert asked(powers) == {16, 32, 64}
    assert asked(half_of_sixty_four) == {64}
