"""Wrong masks and biases: what they mean, for whom they are, what becomes of what is hidden."""

from __future__ import annotations

from typing import Any

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.cases.question import Question
from properties.findings.names.calls.catalogue import asks, form
from properties.findings.names.calls.form import RefusedError, by
from properties.subjects.call import Seen

MEANING = "what True in the mask means"
USE = "where the mask is used"
SHAPE = "the shape to which the mask is expanded"
FILL = "the number that hides a score"
FILLS = ("-1e2", "-1e3", "-1e4", "-1e5", "-1e6", "-1e9")


def shown(asked: Question) -> Seen:
    """The mask as (B, H, T, S), true where a key is seen; everything where there is none."""
    mask = asked.arguments.mask
    return np.broadcast_to(True if mask is None else mask, asked.shape)


def added(asked: Question, more: Array) -> Array:
    """The bias with more on top."""
    bias = asked.arguments.bias
    return more if bias is None else bias + more


@asks("True hides", MEANING, "mask")
def true_hides(asked: Question) -> Question:
    """The mask upside down, where True shows."""
    return asked.changed(mask=~shown(hiding(asked, "mask", False)))


@asks("True attends", MEANING, "mask")
def true_attends(asked: Question) -> Question:
    """The same, where True hides."""
    return asked.changed(mask=~shown(hiding(asked, "mask", True)))


def hiding(asked: Question, role: str, hides: bool) -> Question:
    """The question; RefusedError where True means something else in a mask."""
    of = "context_" if "context" in asked.inputs else ""
    if (getattr(asked.case.subject.conventions, f"{of}{role}") == "hide") is not hides:
        raise RefusedError(f"True {'shows' if hides else 'hides'} in the {role}")
    return asked


def real_keys(asked: Question) -> Seen:
    """Which keys are no padding; RefusedError where numbers are given that hide none."""
    if asked.arguments.padding is None:
        raise RefusedError("padding of numbers")
    return asked.arguments.padding


@asks("mask added as a number", MEANING, "mask")
def added_as_a_number(asked: Question) -> Question:
    """True is one, False is zero; which of them shows, the caller decides."""
    hides = asked.case.subject.conventions.mask == "hide"
    number = (shown(asked) ^ hides).astype(np.float64)
    return asked.changed(mask=None, bias=added(asked, number))


@asks("mask ignored", USE, "mask")
def mask_ignored(asked: Question) -> Question:
    """Nothing is hidden by it."""
    return asked.changed(mask=None)


@asks("mask ignored", USE, "mask", "bias")
def both_ignored(asked: Question) -> Question:
    """Neither booleans nor numbers."""
    if "mask" not in asked.case.subject.takes:
        raise RefusedError("there is no mask")
    return asked.changed(mask=None, bias=None)


def padding_ignored(called: str, *roles: str) -> None:
    """Enter padding that takes part."""

    @asks(called, "where the padding mask is used", *roles)
    def takes_part(asked: Question) -> Question:
        return asked.changed(padding=None, padding_numbers=None)


padding_ignored("padding ignored", "padding", "padding_numbers")
padding_ignored("padding given as numbers ignored", "padding_numbers")


@asks("padding given as booleans ignored", "where the padding mask is used", "padding")
def booleans_take_part(asked: Question) -> Question:
    """Where it may be given as numbers, too."""
    if "padding_numbers" not in asked.case.subject.takes:
        raise RefusedError("padding is given as booleans alone")
    return asked.changed(padding=None)


def lengths_are_off(called: str, by: int) -> None:
    """Enter lengths that are compared with a place beside the right one."""

    @asks(called, "how the place of a key is compared with the length of its item", "padding")
    def off(asked: Question) -> Question:
        real, of = real_keys(asked), "context_" if "context" in asked.inputs else ""
        if getattr(asked.case.subject.conventions, f"{of}padding") != "counts":
            raise RefusedError("padding is a mask")
        lengths = real.sum(axis=-1, keepdims=True) + by
        return asked.changed(padding=np.arange(real.shape[-1]) < lengths)


lengths_are_off("a key more is seen than the lengths say", 1)
lengths_are_off("a key less is seen than the lengths say", -1)


@asks("numbers in the padding mask read as booleans", USE, "padding_numbers")
def any_number_hides(asked: Question) -> Question:
    """Every key hides whose number is not zero."""
    numbers = asked.arguments.padding_numbers
    if numbers is None:
        return asked
    return asked.changed(padding=numbers == 0.0, padding_numbers=None)


@asks("only minus infinity in the padding mask acts", USE, "padding_numbers")
def small_numbers_do_nothing(asked: Question) -> Question:
    """What is above minus infinity is taken for zero."""
    numbers = asked.arguments.padding_numbers
    if numbers is None:
        return asked
    return asked.changed(padding=numbers != -np.inf, padding_numbers=None)


@asks("True is padding", "what True in the padding mask means", "padding")
def true_is_padding(asked: Question) -> Question:
    """The padding mask upside down, where True is real."""
    real = hiding(asked, "padding", False).arguments.padding
    return asked.changed(padding=~np.asarray(real))


@asks("True attends in the padding mask", "what True in the padding mask means", "padding")
def true_is_real(asked: Question) -> Question:
    """The same, where True is padding."""
    real = hiding(asked, "padding", True).arguments.padding
    return asked.changed(padding=~np.asarray(real))


@asks("bias ignored", USE, "bias")
def bias_ignored(asked: Question) -> Question:
    """Neither what it adds nor what it hides."""
    told = asked.case.subject.takes
    both = told.get("mask") == told.get("bias")
    return asked.changed(bias=None, mask=None if both else asked.arguments.mask)


@asks("bias read as boolean", MEANING, "bias")
def read_as_boolean(asked: Question) -> Question:
    """Zero is False, everything else True; which of them hides, the mask says."""
    true = np.broadcast_to(np.asarray(asked.arguments.bias) != 0.0, asked.shape)
    shows = true ^ (asked.case.subject.conventions.mask == "hide")
    return asked.changed(bias=None, mask=shows & shown(asked))


@asks("bias subtracted", "the sign of the bias", "bias")
def bias_subtracted(asked: Question) -> Question:
    """What is favoured is avoided."""
    return asked.changed(bias=-np.asarray(asked.arguments.bias))


@asks("bias added twice", "where the bias is added", "bias")
def bias_added_twice(asked: Question) -> Question:
    """In two places."""
    return asked.changed(bias=2.0 * np.asarray(asked.arguments.bias))


def rounded(name: str) -> None:
    """Enter a bias that is kept in a short format."""

    @asks("bias rounded", f"a conversion of the bias to {name}", "bias")
    def to_a_short_format(asked: Question) -> Question:
        bias = np.asarray(asked.arguments.bias, np.float64)
        kept = np.where(np.isfinite(bias), bias, 0.0)
        return asked.changed(bias=np.where(np.isfinite(bias), FORMATS[name].round(kept), bias))


rounded("bfloat16")
rounded("float16")


@asks("mask replaces causal", "the branch that a mask leads into", "padding")
@asks("mask replaces causal", "the branch that a mask leads into", "mask", "bias", "padding")
@asks("mask replaces causal", "the branch that a mask leads into", "mask", "bias")
def mask_replaces_causal(asked: Question) -> Question:
    """The flag is forgotten."""
    return asked.changed(causal=False)


@asks("mask replaces the padding", "the branch that a mask leads into", "mask", "bias")
def mask_replaces_the_padding(asked: Question) -> Question:
    """Of two masks the second wins."""
    return asked.changed(padding=None)


@asks("padding replaces the mask", "the branch that padding leads into", "padding")
def padding_replaces_the_mask(asked: Question) -> Question:
    """Of two masks the first wins."""
    return asked.changed(mask=None, bias=None)


@asks("mask replaces the window", "the branch that a mask leads into", "mask", "bias")
def mask_replaces_the_window(asked: Question) -> Question:
    """The window is forgotten."""
    return asked.changed(window=None)


@asks("causal replaces the mask", "the branch that the causal flag leads into", "causal")
def causal_replaces_the_mask(asked: Question) -> Question:
    """The mask is forgotten."""
    return asked.changed(mask=None, bias=None)


@asks("mask of items falls on heads", SHAPE, "mask", "bias")
def items_on_heads(asked: Question) -> Question:
    """(B, 1, T, S) without its axis of heads is one of heads, if there are as many."""
    return asked.changed(**{n: on_heads(asked, a) for n, a in numbers(asked).items()})


def on_heads(asked: Question, array: Array) -> Array:
    """A mask of items as one of heads."""
    batch, heads = asked.shape[:2]
    if not asked.function:  # which is handed a mask of items alone
        array = array[:, :1]
    if array.ndim < 4 or array.shape[1] != 1:
        return array
    if array.shape[0] not in (1, heads) or (batch != 1 and heads == 1 and array.shape[0] > 1):
        raise RefusedError(f"{batch} items, {heads} heads")
    return array.swapaxes(0, 1)


def numbers(asked: Question, *roles: str) -> dict[str, Array]:
    """The mask and the bias, as far as they are given."""
    given = asked.arguments.given()
    return {role: given[role] for role in roles or ("mask", "bias") if role in given}


def of_the_first(who: str, axis: int, *roles: str) -> None:
    """Enter a mask of which one part serves all."""
    role = roles[0]

    @asks(f"{role} of the first {who} for all", SHAPE, *roles)
    def one_for_all(asked: Question) -> Question:
        parts: dict[str, Any] = {}
        for name, array in numbers(asked, *roles).items():
            short = array.ndim < -axis
            parts[name] = array if short else np.take(array, [0], axis=axis)
        return asked.changed(**parts)


for _who, _axis in (("item", -4), ("head", -3), ("query", -2)):
    for _roles in (("mask",), ("bias",), ("mask", "bias")):
        of_the_first(_who, _axis, *_roles)


@asks("mask skipped by its first item", "the test whether anything is masked", "mask")
def skipped_by_its_first_item(asked: Question) -> Question:
    """Where the first item is whole, so are all."""
    whole = bool(np.asarray(asked.arguments.mask)[0].all())
    return asked.changed(mask=None) if whole else asked


def filled(number: str, *, placed: bool) -> None:
    """Enter a finite number in place of minus infinity: added to a score, or put in its place."""

    @asks(f"fill of {number} leaks", FILL, "mask", of_empty=True)
    def finite(asked: Question) -> Question:
        hidden, level = ~shown(asked), float(number)
        if placed:
            wanted = np.where(hidden, level, logits(asked))
            return with_logits(asked.changed(mask=None), wanted)
        more = np.where(hidden, level, 0.0)
        return asked.changed(mask=None, bias=added(asked, more))


def logits(asked: Question) -> Array:
    """The logits of all keys, (B, H, T, S)."""
    capped: Array = asked.request.capped(scaled(asked))
    return capped if asked.request.bias is None else capped + asked.request.bias


def scaled(asked: Question) -> Array:
    """The scaled scores of all keys, (B, H, T, S)."""
    if not asked.function:
        raise RefusedError("tokens are asked about")
    queries, keys = asked.inputs["queries"], asked.inputs["keys"]
    keys = np.repeat(keys, queries.shape[1] // keys.shape[1], axis=1)
    scores: Array = queries @ keys.swapaxes(-1, -2) * asked.request.factor(queries.shape[-1])
    return scores


def with_logits(asked: Question, wanted: Array) -> Question:
    """The question with the bias that brings each score to what is wanted, in place of slopes."""
    more = wanted - asked.request.capped(scaled(asked))
    return asked.changed(bias=more, slopes=None)


for _number in FILLS:
    filled(_number, placed=False)
    filled(_number, placed=True)


@asks("fill of -1e9 overflows", FILL, "mask", of_empty=True)
def overflows(asked: Question) -> Question:
    """In float16 it is minus infinity, and a row that sees nothing is NaN; elsewhere it hides."""
    if asked.case.dtype == "float16":
        return by(asked, empty="nan")
    wanted = np.where(shown(asked), logits(asked), -1e9)
    seen = asked.changed(mask=None).request.visible | ~shown(asked)
    return with_logits(asked.changed(mask=seen, causal=False, window=None), wanted)


@asks("least number added twice", FILL, "mask", of_empty=True)
def least_number_added_twice(asked: Question) -> Question:
    """Once by the flag, once by the mask: together they are minus infinity, so a row that sees nothing is
    spread over the keys that one of them hides, as far as the format tells their sums apart.
    """
    fmt, open_row = FORMATS[asked.case.dtype], asked.changed(mask=None)
    past = np.broadcast_to(open_row.request.visible, asked.shape)
    hiding = (~past).astype(np.float64) + ~shown(asked)
    with np.errstate(all="ignore"):
        sums = fmt.round(logits(asked) - np.where(hiding > 1.0, np.inf, hiding * fmt.largest))
    nothing = (hiding > 0.0).all(axis=-1, keepdims=True)
    seen = np.where(nothing, np.isfinite(sums), hiding == 0.0)
    top = np.max(sums, axis=-1, keepdims=True, where=seen, initial=-fmt.largest)
    wanted = np.where(nothing & seen, sums - top, logits(asked))
    told = asked.changed(causal=False, window=None, mask=seen)
    return with_logits(told, wanted)


form("mask written to", "an operation in place on the mask", "mask", writes=("mask",))
form(
    "mask written to",
    "an operation in place on the mask",
    "mask",
    "padding",
    writes=("mask", "padding"),
)
form("bias written to", "an operation in place on the bias", "bias", writes=("bias",))
