"""Which arguments of a function can be asked about, and by which conventions: found by trial.

Some signatures are a declaration: who names arguments as torch does, or flash attention, is held to
what these say. What is not declared is found by `probing`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np

from properties.cases.devices import pad
from properties.recognition.asking import declined, probing
from properties.recognition.asking.functions import Manner
from properties.recognition.asking.packed import starts_are_shared
from properties.recognition.asking.roles import counts, roles
from properties.recognition.foreign.bridge import Bridge
from properties.subjects.call import (
    PLACED,
    PLAINLY,
    Answer,
    Arguments,
    Conventions,
    Handing,
    Inputs,
    lacking,
)
from properties.truth.oracle import merge, split


class Signature(NamedTuple):
    """Arguments by which somebody's signature is known; what it promises; and what it usually comes with,
    and does not promise: another answer is told, and no error.
    """

    names: frozenset[str]
    promises: Conventions
    usual: Conventions


SIGNATURES = {
    "torch's scaled_dot_product_attention": Signature(
        frozenset({"attn_mask", "is_causal"}),
        promises=Conventions(mask="attend"),
        usual=Conventions(align="top left"),
    ),
    "flash attention": Signature(
        frozenset({"softmax_scale", "causal"}),
        promises=Conventions(),
        usual=Conventions(align="bottom right", window="others", lse="natural", lse_axes="B H T"),
    ),
}
HIDES = re.compile(
    r"true\W+(\w+\W+){0,2}(hides?|hidden|mask(s|ed)|ignored?|not allowed)", re.IGNORECASE
)
MULTIPLIES = re.compile(r"multipl|\*\s*scal|times the scal", re.IGNORECASE)
OF_BOOLEANS = re.compile(r"bool", re.IGNORECASE)
ASKED = (
    "mask",
    "bias",
    "padding",
    "causal",
    "window",
    "scale",
    "cap",
    "slopes",
    "documents",
    "segments",
    "weights",
    "lse",
)


def manner(plain: Manner, names: Collection[str], scale: str = "") -> Manner:
    """How a function of queries, keys and values is told everything that it can be told.

    plain: how it is called with these three alone; names: its arguments besides these and the one for
    dropout; scale: that for the scale, where it is known by more than its name.
    """
    takes = roles(names) | ({"scale": scale} if scale else {})
    mask_alone = "mask" in takes and "bias" not in takes
    if mask_alone:
        takes["bias"] = takes["mask"]
    elif "mask" not in takes and "bias" in takes:
        takes["mask"] = takes["bias"]
    found = with_both_by_one_flag(replace(plain, takes=takes), names)
    found = with_lengths(found)
    takes = dict(found.takes)
    if mask_alone and not declared(names)[0] and not probing.adds(asking(found)):
        found = found.without("bias")
    if of_numbers(found, names):
        found = found.without("mask")
    found = with_what_is_supported(with_window(with_kinds_of_mask(found)))
    found = with_scale(found, names)
    found = with_flag_apart(with_what_always_comes(with_what_comes(found)))
    sizes = {"groups": probing.level(3, 3, heads=4, groups=2), "lengths": probing.level(3, 4)}
    ask = asking(found)
    taken = {name for name, inputs in sizes.items() if probing.asked(ask, inputs, Arguments())}
    if "causal" in found.takes and not probing.asked(
        ask, probing.level(3, 4), Arguments(causal=True)
    ):
        taken.discard("lengths")  # a mask of T x T would be asked about what it cannot hide
    if starts_are_shared(plain.call):
        taken.discard("lengths")
    told = {n: a for n, a in found.takes.items() if n in ASKED} | {
        name: takes.get(name, "") for name in taken
    }
    hides = "causal" not in told and bool(probing.alignment(ask, "") or probing.hides(ask))
    held = settled(replace(found, takes=told, hides=hides), names)
    return replace(
        held, replaces=hides and "mask" in told and not probing.hides(asking(held), True)
    )


def of_numbers(found: Manner, names: Collection[str]) -> bool:
    """Whether one argument is for both kinds of masks, nobody says that it takes booleans, and True is a
    number to it.
    """
    takes = found.takes
    if "bias" not in takes or takes.get("mask") != takes["bias"]:
        return False
    promised = declared(names)[0] or OF_BOOLEANS.search(said(found))
    return not promised and not probing.polarity(asking(found), "mask")


def placed(found: Manner) -> str:
    """The first role by which it can be told where the diagonal lies; "" for none."""
    return next((role for role in PLACED if role in found.takes), "")


def said(found: Manner) -> str:
    """The docstring of the function."""
    return found.call.__doc__ or ""


def with_both_by_one_flag(found: Manner, names: Collection[str]) -> Manner:
    """With the log-sum-exp by the flag for the weights, as flash attention's return_attn_probs has it; a
    flag of nobody's that is known has to return what is one.
    """
    if "weights" not in found.takes or "lse" in found.takes:
        return found
    both = replace(found, takes={**found.takes, "lse": found.takes["weights"]})
    theirs = SIGNATURES["flash attention"].names <= set(names)
    return both if theirs or probing.logarithm(asking(both)) else found


def settled(found: Manner, names: Collection[str], told: Mapping[str, str] | None = None) -> Manner:
    """With its conventions, and how each is known. told: those that somebody declares."""
    told = dict(told or {})
    if "sides" in told:
        found = replace(found, pair=told["sides"] == "two")
    whose, by_name = declared(names)
    given = {n: (a, f"signature of {whose}") for n, a in answered(by_name).items()}
    if "mask" in found.takes and HIDES.search(said(found)):
        given["mask"] = ("hide", "docstring")
    given |= {n: (a, "declared") for n, a in told.items()}
    plain = replace(found, conventions=Conventions(), origins={})
    answers = conventions(plain, {n: answer for n, (answer, _) in given.items()})
    origins = {n: given.get(n, ("", "trial"))[1] for n in answered(answers)}
    return replace(found, conventions=answers, origins=origins)


def with_lengths(found: Manner) -> Manner:
    """With an argument that counts the real keys of each item where it does, or is not used at all; without
    one that is of queries, of the last keys, or for all items at once.
    """
    if not counts(found.takes.get("padding", "")):
        return found
    inputs, lengths = probing.level(5, 5, batch=2), np.array([[2], [4]])
    told = replace(found, conventions=replace(found.conventions, padding="counts"))
    plain = probing.asked(asking(found), inputs, Arguments())
    answer = probing.asked(asking(told), inputs, Arguments(padding=np.arange(5) < lengths))
    if plain is None or answer is None:
        return found.without("padding")
    if np.array_equal(answer.output, plain.output):
        return told
    seen = [[probing.keys_of(float(row[0]), 5) for row in item] for item in answer.output]
    of_the_last = [rows[-1] for rows in seen] == [frozenset({3, 4}), frozenset({1, 2, 3, 4})]
    known = all(row is not None for rows in seen for row in rows)
    return told if known and not of_the_last else found.without("padding")


def with_kinds_of_mask(found: Manner) -> Manner:
    """Without the role of a mask, a bias, documents or segments that the argument does not take."""
    refused = {
        name
        for name in ("mask", "bias", "documents", "segments")
        if name in found.takes and not works(asking(found), EACH[name])
    }
    return found.without(*refused)


def with_what_is_supported(found: Manner) -> Manner:
    """Without the role of an argument of which a call says that it is not supported: by this device, or
    not yet.
    """
    absent = {
        name
        for name, one in EACH.items()
        if name in found.takes
        and declined.SAYS_SO.search(probing.refusal(asking(found), probing.level(3, 3), one))
    }
    return found.without(*absent)


def with_flag_apart(found: Manner) -> Manner:
    """With the future hidden by the mask, where the causal flag beside one is refused, as torch's
    scaled_dot_product_attention says it is.
    """
    given = next((name for name in ("mask", "bias") if name in found.takes), "")
    if not given or "causal" not in found.takes:
        return found
    both = replace(EACH[given], causal=True)
    alone = works(asking(found), EACH[given]) and works(asking(found), EACH["causal"])
    return replace(found, apart=alone and not works(asking(found), both))


def with_window(found: Manner) -> Manner:
    """With a window as one number where a pair is refused; without it where that is, too."""
    if "window" not in found.takes:
        return found
    for pair in (True, False):
        guess = replace(found, pair=pair)
        if probing.asked(asking(guess), probing.level(5, 5), Arguments(window=(2, 0))):
            return replace(guess, counted=pair and of_arrays(found.call))
    return found.without("window")


def of_arrays(call: Callable[..., Any]) -> bool:
    """Whether what is called in the end is a function of another library's arrays."""
    while not isinstance(call, Bridge) and hasattr(call, "function"):
        call = call.function
    return isinstance(call, Bridge)


def with_scale(found: Manner, names: Collection[str]) -> Manner:
    """With a scale that divides where it does, and neither the docstring nor arguments named as somebody's
    are, whose scale multiplies, say otherwise. By default both are the same.
    """
    followed = any(signature.names <= set(names) for signature in SIGNATURES.values())
    if "scale" not in found.takes or followed or MULTIPLIES.search(said(found)):
        return found
    return replace(found, divides=probing.divides(asking(found)))


def with_what_comes(found: Manner) -> Manner:
    """Without the role of an argument that asks for more and gets no more."""
    ask, sizes = asking(found), probing.level(3, 4, heads=2, groups=2)
    wanted = {"weights": Arguments(weights=True), "lse": Arguments(lse=True)}
    absent = {
        name
        for name, asked_for in wanted.items()
        if name in found.takes and getattr(probing.asked(ask, sizes, asked_for), name, None) is None
    }
    return found.without(*absent)


def with_what_always_comes(found: Manner) -> Manner:
    """With the weights and the log-sum-exp that come without being asked for, where rows of the former sum
    to one and the latter is one: a second result may be anything else.
    """
    named = found.takes.keys()
    every = replace(found, takes={"weights": "", "lse": "", **found.takes})
    sizes = probing.level(3, 4, heads=2, groups=2)
    answer = probing.asked(asking(every), sizes, Arguments(weights=True))
    takes = dict(found.takes)
    weights = None if answer is None else answer.weights
    if (
        "weights" not in named
        and weights is not None
        and np.allclose(weights.sum(-1), 1, atol=1e-2)
    ):
        takes["weights"] = ""
    if "lse" not in named and probing.logarithm(asking(every)):
        takes["lse"] = ""
    return replace(found, takes=takes)


def usable(found: Manner, dtypes: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """The formats in which every argument can be given, and a remark on each that is left out.

    Some masks are filled with a number that a short format does not have.
    """
    kept: list[str] = []
    remarks = []
    for dtype in dtypes:
        ask = asking(found, dtype)
        failing = [
            name for name, one in EACH.items() if name in found.takes and not works(ask, one)
        ]
        if failing:
            remarks.append(f"not asked in {dtype}: there a call with {failing[0]} raises")
        else:
            kept.append(dtype)
    return (tuple(kept), remarks) if kept else (dtypes, [])  # then the laws tell what raises


EACH = {
    "mask": Arguments(mask=np.ones((1, 1, 3, 3), np.bool_)),
    "bias": Arguments(bias=np.zeros((1, 1, 3, 3))),
    "padding": Arguments(padding=np.ones((1, 3), np.bool_)),
    "causal": Arguments(causal=True),
    "window": Arguments(window=(1, 0)),
    "scale": Arguments(scale=0.5),
    "cap": Arguments(cap=2.0),
    "slopes": Arguments(slopes=np.ones(1)),
    "documents": Arguments(documents=np.array([[2, 3]])),
    "segments": Arguments(segments=np.array([[1, 1, 2]])),
}
"""One call for each argument."""


def works(ask: Callable[[Inputs, Arguments], Answer], arguments: Arguments) -> bool:
    """Whether a call of three tokens returns."""
    return probing.asked(ask, probing.level(3, 3), arguments) is not None


def drops(found: Manner) -> bool:
    """Whether it takes a probability of dropout above zero."""
    return bool(found.dropout) and works(asking(found, handing=Handing(dropout=0.5)), Arguments())


def takes_slopes_of_items(found: Manner) -> bool:
    """Whether slopes may be (B, H), as in flash attention: at sizes where nothing else fits by accident."""
    one = Arguments(slopes=np.ones((2, 3)))
    sizes = probing.level(4, 5, batch=2, heads=3, groups=3)
    return "slopes" in found.takes and probing.asked(asking(found), sizes, one) is not None


def asking(found: Manner, dtype: str = "", handing: Handing = PLAINLY) -> probing.Ask:
    """A call in one format, that of trials if none is named. Heads that are too narrow are filled with
    zeros, and what comes of these is left out.
    """

    def ask(inputs: Inputs, arguments: Arguments) -> Answer:
        """The call."""
        (_, heads, *_), width = inputs["queries"].shape, inputs["values"].shape[-1]
        head_dim = max(found.head_dim, width)
        wide = {name: pad(part, head_dim) for name, part in inputs.items()}
        answer = found.ask(wide, arguments, dtype or found.trial, handing)
        narrow = split(answer.output, heads)[..., :width]
        return replace(answer, output=merge(narrow))

    return ask


def of_padding(found: Manner) -> str:
    """What True means in a mask of keys, or that its argument counts them."""
    if counts(found.takes["padding"]):
        return "counts"
    return probing.polarity(asking(found), "padding")


def answered(conventions: Conventions) -> dict[str, str]:
    """The conventions that have an answer."""
    return {name: answer for name, answer in asdict(conventions).items() if answer}


def declared(names: Collection[str]) -> tuple[str, Conventions]:
    """Whose signature it is, and what that promises; "" for nobody's that promises anything."""
    for whose, signature in SIGNATURES.items():
        if signature.names <= set(names) and answered(signature.promises):
            return whose, signature.promises
    return "", Conventions()


def unusual(found: Manner, names: Collection[str]) -> list[str]:
    """A remark on each convention that differs from what such a signature usually comes with, on a flag
    that no mask may stand beside, and on a scale that divides.
    """
    kept = answered(found.conventions)
    remarks = [
        f"convention {name} is {kept[name]}; a signature like that of {whose} usually comes with "
        f"{answer}"
        for whose, signature in SIGNATURES.items()
        for name, answer in answered(signature.usual).items()
        if signature.names <= set(names) and kept.get(name, answer) != answer
    ]
    flag = found.takes.get("causal", "")
    alone = f"{found.takes.get('mask')} takes the place of hiding the future"
    beside = f"{flag} beside a mask is refused: the mask hides the future"
    divided = f"{found.takes.get('scale')} divides the scores: its inverse is what multiplies them"
    told = ((beside, found.apart), (alone, found.replaces), (divided, found.divides))
    return remarks + [remark for remark, holds in told if holds]


def conventions(found: Manner, given: Mapping[str, str]) -> Conventions:
    """Those that are given, and the others as probes find them, where the arguments are there."""
    ask = asking(found)
    probes: dict[str, Callable[[], str]] = {
        "mask": lambda: probing.polarity(ask, "mask"),
        "padding": lambda: of_padding(found),
        "align": lambda: probing.alignment(ask, "" if found.hides else placed(found)),
        "window": lambda: probing.counting(ask, "causal" in found.takes),
        "weights": lambda: probing.returned_weights(ask),
        "lse": lambda: probing.logarithm(ask),
        "lse_axes": lambda: probing.logarithm_axes(ask),
    }
    told = {
        name: given.get(name) or probe()
        for name, probe in probes.items()
        if not lacking(name, found.takes) or (name == "align" and found.hides)
    }
    if "window" in found.takes:
        told["sides"] = given.get("sides") or ("two" if found.pair else probing.sides(ask))
    held = replace(found, conventions=Conventions(**told))
    if "mask" in found.takes:
        wide_and_short = (asking(held, dtype) for dtype in ("float64", "float16"))
        told["empty"] = given.get("empty") or probing.empty_row(asking(held), *wide_and_short)
    return Conventions(**told)
