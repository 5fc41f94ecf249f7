"""Which masks and contexts a forward takes, and what True means in them: found by trial with the module
itself.

Its queries and keys are made zero, so that every key that is seen has the same weight, and the value
of key j is 2**j: a row is the mean of some powers of two, and tells which keys it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from properties.basics.dtypes import FORMATS, Array
from properties.recognition.asking import modules, probing
from properties.recognition.asking.modules import OF_CONTEXT, PLAINLY, ModuleManner
from properties.recognition.asking.roles import certain, counts, roles
from properties.subjects.call import Answer, Arguments, Conventions, Handing, Inputs
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes, Weights

KEYS = 4
LAST = np.array([True, True, False, True])  # the keys that are told to be seen
FIRST = np.array([True, True, True, False])  # the same where they are counted
PADDED = 2  # the one that is not
SEGMENTS = (
    [1, 1, 1, 1],
    [1, 1, 2, 2],
    [2, 2, 1, 1],
)  # the last token is in the first or a later one
FURTHER = 5  # results among which weights are looked for
Build = Callable[[Config, Weights], nn.Module]


SINGLE = ("B T T", "B 1 T T", "T T")
# As torch's own module wants it, if it is taken so; fairseq's has one for all items.
ALSO_OF_HEADS = ("B*H T T", "B 1 T T", "B T T", "T T")


class Trial:
    """Asks modules of these sizes, whose weights are level; the last row, since it may see all keys."""

    roles = PLAINLY
    queries = KEYS
    of_keys: Sequence[str] = ("B T",)

    def __init__(self, build: Build, sizes: Sizes, shapes: Sequence[str] = SINGLE) -> None:
        """Take over how modules are built, their d_in, heads and head_dim, and the shapes of masks of
        pairs, keys of `SHAPES`, in the order in which they are tried.
        """
        self.build, self.shapes = build, shapes
        if shapes is not SINGLE:
            self.of_keys = tuple(modules.KEYS)
        self.sizes = replace(sizes, tokens=KEYS, context_length=KEYS)

    def inputs(self, items: int) -> Inputs:
        """So many items, all alike; the first column of key j is 2**j."""
        return {"x": powers(items, self.sizes.d_in)}

    def ask(
        self,
        manner: ModuleManner,
        arguments: Arguments,
        items: int,
        dtype: str = "float32",
        handing: Handing | None = None,
        *,
        uneven: bool = False,
    ) -> Answer | None:
        """The answer for so many items, all alike; None where the call raises. uneven: whether scores grow
        from key to key.
        """
        s = replace(self.sizes, batch=items)
        query, key, value = (
            np.zeros((s.d_in_of(role), s.width_of(role))) for role in ("query", "key", "value")
        )
        value[0, 0] = 1.0
        if uneven:
            query[0, 0] = key[0, 0] = 1.0
        weights = Weights(query=query, key=key, value=value)
        return probing.asked(
            lambda inputs, told: manner.ask(
                self.build(Config(s, dtype=dtype), weights), inputs, told, dtype, handing
            ),
            self.inputs(items),
            arguments,
        )

    def telling(self, manner: ModuleManner, name: str, items: int) -> Arguments:
        """The keys 0, 1 and 3, as a "mask" or as "padding"; the first three where these are counted."""
        if name == "padding":
            counted = getattr(manner.conventions, self.roles[name]) == "counts"
            return Arguments(padding=np.tile(FIRST if counted else LAST, (items, 1)))
        return Arguments(mask=self.pairs(LAST, items))

    def pairs(self, keys: Any, items: int) -> Any:
        """(B, 1, T, S): the same for every query."""
        return np.broadcast_to(keys, (items, 1, self.queries, KEYS)).copy()

    def number(self, manner: ModuleManner, arguments: Arguments) -> float:
        """What the last row of a single item gives; NaN where the call raises."""
        answer = self.ask(manner, arguments, items=1)
        return float("nan") if answer is None else float(answer.output[0, -1, 0])

    def polarity(self, manner: ModuleManner, name: str) -> str:
        """What True means in such a mask; "" if neither."""
        found = probing.keys_of(self.number(manner, self.telling(manner, name, 1)), KEYS)
        return {frozenset({0, 1, 3}): "attend", frozenset({2}): "hide"}.get(
            found or frozenset(), ""
        )

    def acts(self, manner: ModuleManner, name: str) -> bool:
        """Whether such a mask makes any difference, or is refused."""
        told, plain = (
            self.ask(manner, arguments, items=1)
            for arguments in (self.telling(manner, name, 1), Arguments())
        )
        return told is None or plain is None or not np.array_equal(told.output, plain.output)

    def reads_one_row(self, manner: ModuleManner) -> bool:
        """Whether the first row of a mask of pairs says what the last query sees."""
        mask = self.pairs(LAST, 1)
        alike = self.number(manner, Arguments(mask=mask))
        mask[..., 0, :] = ~LAST
        return alike != self.number(manner, Arguments(mask=mask))

    def adds(self, manner: ModuleManner) -> bool:
        """Whether numbers are added to the scores: log 3 for key 1 counts it three times."""
        bias = self.pairs(np.log([1.0, 3.0, 1.0, 1.0]), 1)
        return abs(self.number(manner, Arguments(bias=bias)) - 19.0 / 6.0) < 1e-3

    def is_flag(self, manner: ModuleManner) -> bool:
        """Whether any mask hides the future and shows all else, and without one all is seen."""
        plain, masked = (
            self.ask(manner, told, items=1)
            for told in (Arguments(), self.telling(manner, "mask", 1))
        )
        if plain is None or masked is None:
            return False
        whole = (2.0**KEYS - 1.0) / KEYS
        seen = plain.output[0, 0, 0], masked.output[0, 0, 0], masked.output[0, -1, 0]
        return bool(np.allclose(seen, (whole, 1.0, whole), atol=1e-3))

    def loses_its_own_rows(self, manner: ModuleManner) -> bool:
        """Whether a query that is padding itself sees nothing, where the others see what is none."""
        answer = self.ask(manner, self.telling(manner, "padding", 1), items=1)
        if answer is None or len(answer.output[0]) <= PADDED:
            return False
        padded, other = (float(answer.output[0, row, 0]) for row in (PADDED, -1))
        return bool(probing.of_nothing(padded)) and padded != other

    def empty(self, manner: ModuleManner) -> str:
        """What a row gives that sees nothing; "" if nothing known."""
        mask = self.pairs(np.ones(KEYS, dtype=np.bool_), 1)
        mask[..., -1, :] = False
        answer = self.ask(manner, Arguments(mask=mask), items=1)
        known = "" if answer is None else probing.of_nothing(float(answer.output[0, -1, 0]))
        told = (Arguments(mask=mask), 1)
        others = (self.ask(manner, *told, dtype, uneven=True) for dtype in FORMATS)
        numbers = (float(other.output[0, -1, 0]) for other in others if other is not None)
        return probing.by_uneven(known, numbers)


class CrossTrial(Trial):
    """The same of a context, with other tokens in x, whose first column would show."""

    roles = OF_CONTEXT

    def __init__(
        self,
        build: Build,
        sizes: Sizes,
        d_context: int,
        queries: int = KEYS - 1,
        shapes: Sequence[str] = SINGLE,
    ) -> None:
        """d_context: the width of the context, 0 for that of x."""
        super().__init__(build, replace(sizes, d_context=d_context), shapes)
        self.queries = queries

    def inputs(self, items: int) -> Inputs:
        """A context whose first column tells its tokens, and an x that is far from them."""
        x = np.full((items, self.queries, self.sizes.d_in), 2.0**KEYS)
        return {"x": x, "context": powers(items, self.sizes.d_in_of("key"))}

    def attends(self, manner: ModuleManner) -> bool:
        """Whether the last row is the mean of all tokens of the context, and of nothing else."""
        return abs(self.number(manner, Arguments()) - (2.0**KEYS - 1.0) / KEYS) < 1e-3

    def joins(self, manner: ModuleManner) -> bool:
        """Whether the last row is the mean of all tokens of the context and of x."""
        both = self.queries * 2.0**KEYS + 2.0**KEYS - 1.0
        return abs(self.number(manner, Arguments()) - both / (self.queries + KEYS)) < 1e-3


def powers(items: int, width: int) -> Any:
    """(items, KEYS, width), with 2**j in the first column of token j."""
    tokens = np.zeros((items, KEYS, width))
    tokens[:, :, 0] = 2.0 ** np.arange(KEYS)
    return tokens


def manner(
    names: Iterable[str],
    build: Build,
    sizes: Sizes,
    d_context: int = 0,
    *,
    alone: bool = True,
    batched: bool = True,
) -> ModuleManner:
    """How a forward with these arguments besides x is told masks and a context; with no role where it
    takes none.

    sizes: of a trial; d_context: the width of a context, 0 for that of x; alone: whether x is taken
    without a context; batched: whether it has an axis of items: without, no mask is tried.
    """
    named = roles(names)
    if not batched:
        named = {role: name for role, name in named.items() if role == "context"}
    found = ModuleManner(batched=batched)
    if alone:
        trial_of_x = Trial(build, sizes)
        found = with_segments(trial_of_x, with_masks(trial_of_x, found, named), named)
        if (
            batched and "T T" not in found.pairs.values()
        ):  # else parts would have to be put together
            found = with_what_comes(trial_of_x, found, named)
    if "context" not in named:
        return found
    crossing = replace(found, takes={**found.takes, "context": named["context"]})
    trials = [CrossTrial(build, sizes, d_context, queries) for queries in (KEYS - 1, KEYS)]
    if certain(named["context"]):
        trial = next((t for t in trials if t.ask(crossing, Arguments(), 3) is not None), None)
    else:
        trial = trials[0] if trials[0].attends(crossing) else None
    return found if trial is None else with_masks_of_context(trial, crossing, named)


def with_tokens(
    names: Iterable[str], tokens: Sequence[str], build: Build, sizes: Sizes, *, recording: bool
) -> ModuleManner:
    """How a forward of queries, keys and values is told masks, other tokens and what to return.

    names: its arguments besides these three, tokens; recording: whether gradients are recorded. Who names
    them as torch's own module does is held to what that promises.
    """
    named, (_, key, value) = roles(names), tokens
    trial = Trial(build, sizes, ALSO_OF_HEADS)
    crossing = CrossTrial(build, sizes, 0, KEYS - 1, ALSO_OF_HEADS)
    promised = set(names) >= TORCHS
    found = with_masks(trial, ModuleManner(recording=recording), named)
    found = replace(found, takes={**found.takes, "context": key, "context_values": value})
    if promised:
        found = as_promised(trial, found, named)
    found = of_context_as_of_x(found)
    takes = {n: a for n, a in found.takes.items() if crossing_works(crossing, found, n)}
    found = with_flag(trial, with_what_comes(trial, replace(found, takes=takes), named), named)
    if "mask" not in found.takes:
        return found
    # Once more: whether weights are wanted may decide what a row that sees nothing gets.
    empty = trial.empty(replace(found, conventions=replace(found.conventions, empty="")))
    return replace(found, conventions=replace(found.conventions, empty=empty))


TORCHS = frozenset({"key_padding_mask", "need_weights", "attn_mask"})
PROMISED = Conventions(mask="hide", padding="hide")


def known_by(convention: str, names: Iterable[str]) -> str:
    """How a convention of such a forward is known; see `call.ORIGINS`."""
    promised = convention.endswith(("mask", "padding")) and set(names) >= TORCHS
    return "signature of torch's MultiheadAttention" if promised else "trial"


def as_promised(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """With what torch's own module promises: True hides, and numbers are added.

    Those of padding only where weights are averaged on demand, or a trial shows it: fairseq has the other
    names, too, and makes booleans of its padding.
    """
    takes = dict(found.takes)
    if "mask" in takes:
        guess = replace(found, takes={**takes, "bias": takes["mask"]})
        zeros = Arguments(bias=trial.pairs(np.zeros(KEYS), 1))
        takes |= {"bias": takes["mask"]} if trial.ask(guess, zeros, 1) is not None else {}
    if "padding" in takes:
        guess = replace(found, takes={**takes, "padding_numbers": takes["padding"]})
        hides, lessens, shows = (hidden_by(trial, guess, by) for by in (-np.inf, -1.0, 0.0))
        added = hides is not None and "average_attn_weights" in named.values()
        if hides is not None and lessens is not None and shows is not None:
            added |= not (np.allclose(lessens, hides) or np.allclose(lessens, shows))
        takes = dict(guess.takes) if added else takes
    kept = replace(found.conventions, mask=PROMISED.mask if "mask" in takes else "")
    kept = replace(kept, padding=PROMISED.padding if "padding" in takes else "")
    held = replace(found, takes=takes, conventions=kept)
    if "mask" not in takes:
        return held
    return replace(held, conventions=replace(kept, empty=trial.empty(held)))


def hidden_by(trial: Trial, guess: ModuleManner, number: float) -> Array | None:
    """The output where this number is told of the keys that are no `LAST`; None where a call raises."""
    told = Arguments(padding_numbers=np.tile(np.where(LAST, 0.0, number), (3, 1)))
    answer = trial.ask(guess, told, 3)
    return None if answer is None else answer.output


def of_context_as_of_x(found: ModuleManner) -> ModuleManner:
    """With masks for other tokens by the same arguments, and in the same shapes and polarity."""
    takes, kept = dict(found.takes), found.conventions
    takes |= {f"context_{n}": takes[n] for n in ("mask", "bias", "padding") if n in takes}
    pairs, keys = (
        {**of, **{f"context_{n}": shape for n, shape in of.items()}}
        for of in (found.pairs, found.keys)
    )
    both = replace(kept, context_mask=kept.mask, context_padding=kept.padding)
    return replace(found, takes=takes, pairs=pairs, keys=keys, conventions=both)


def crossing_works(trial: Trial, found: ModuleManner, role: str) -> bool:
    """Whether a call with other tokens returns, where a role is about these."""
    told = {
        "context": Arguments(),
        "context_values": Arguments(),
        "context_mask": trial.telling(found, "mask", 3),
        "context_bias": Arguments(bias=trial.pairs(np.zeros(KEYS), 3)),
        "context_padding": trial.telling(found, "padding", 3),
    }
    return role not in told or trial.ask(found, told[role], 3) is not None


def with_what_comes(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """With arguments that ask for weights, where these come."""
    if "weights" not in named:
        return with_what_always_comes(trial, found)
    takes = {n: named[n] for n in ("weights", "averaged") if n in named}
    guess = replace(found, takes={**found.takes, **takes})
    answer = trial.ask(guess, Arguments(weights=True), 1)
    if answer is None or answer.weights is None:
        return found
    kind = "per head" if answer.weights.ndim == 4 else "averaged"
    return replace(guess, conventions=replace(guess.conventions, weights=kind))


def with_what_always_comes(trial: Trial, found: ModuleManner) -> ModuleManner:
    """With the weights that come without being asked for, where a further result has their shape, and rows
    that sum to one: it may be anything else.
    """
    item_by_item = not found.batched or "T T" in found.pairs.values()
    for place in range(1, FURTHER) if not item_by_item else ():
        guess = replace(found, takes={**found.takes, "weights": ""}, always=place)
        answer = trial.ask(guess, Arguments(weights=True), 3, uneven=True)
        weights = None if answer is None else answer.weights
        if weights is None or (weights.ndim == 4 and weights.shape[1] != trial.sizes.heads):
            continue
        if (weights >= 0).all() and np.allclose(weights.sum(axis=-1), 1.0, atol=1e-3):
            kind = "per head" if weights.ndim == 4 else "averaged"
            return replace(guess, conventions=replace(guess.conventions, weights=kind))
    return found


def with_flag(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """With the causal flag, if it hides the future alone, or beside a mask that does."""
    if "causal" not in named:
        return found
    guess = replace(found, takes={**found.takes, "causal": named["causal"]})
    for hinted in (False, True):
        told = replace(guess, hinted=hinted)
        answer = trial.ask(told, Arguments(causal=True), 1) if "mask" in found.takes else None
        if answer is not None and answer.output[0, 0, 0] == 1.0:
            return told if not hinted else with_own_triangle(told)
    return found


def with_segments(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """With an argument for segments that matters where queries and keys say nothing: one that is read for
    something else, or by nobody, is left alone.
    """
    if "segments" not in named:
        return found
    guess = replace(found, takes={**found.takes, "segments": named["segments"]})
    rows = [trial.number(guess, Arguments(segments=np.array([ids]))) for ids in SEGMENTS]
    return guess if np.isfinite(rows).all() and not np.allclose(rows, rows[0]) else found


def with_own_triangle(found: ModuleManner) -> ModuleManner:
    """With the place of the diagonal in the mask that goes with the flag."""
    return replace(found, conventions=replace(found.conventions, align="top left"))


def with_masks_of_context(
    trial: Trial, found: ModuleManner, named: Mapping[str, str]
) -> ModuleManner:
    """With those that are called so; without any, with those of all others that say something of it, or
    that say nothing of anything.
    """
    own = {n.removeprefix("context_"): a for n, a in named.items() if n.startswith("context_")}
    if own:
        return with_masks(trial, found, own)
    others = {n: named[n] for n in ("mask", "padding") if n in named}
    both = with_masks(trial, found, others)
    of_x = set(found.takes.values())
    mute = [
        role
        for name, role in ((n, trial.roles[n]) for n in ("mask", "padding"))
        if not getattr(both.conventions, role)
        and (both.takes.get(role) in of_x or trial.acts(both, name))
    ]
    return replace(both, takes={n: a for n, a in both.takes.items() if n not in mute})


def with_masks(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """With the masks of a trial that are taken, as ones and zeros where none is as booleans. An argument
    may be for pairs of a query and a key, for keys, or for both.
    """
    both = {n: named[n] for n in ("mask", "padding") if n in named}
    told = with_masks_as(trial, found, both)
    if not both or found.counted or told.takes != found.takes:
        return told
    other = with_masks_as(trial, replace(found, counted=True), both)
    return other if other.takes != found.takes else told


def with_masks_as(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """The same with masks of one kind."""
    takes, forms = dict(found.takes), {"mask": dict(found.pairs), "padding": dict(found.keys)}
    for name, other in (("mask", "padding"), ("padding", "mask")):
        for argument in (named[n] for n in (name, other) if n in named):
            if name == "mask" and counts(argument):
                continue
            role = trial.roles[name]
            guess = with_counts(replace(found, takes={**found.takes, role: argument}), role)
            if form := taken(trial, guess, name):
                takes[role] = argument
                forms[name][role] = form
                break
    found = replace(found, takes=takes, pairs=forms["mask"], keys=forms["padding"])
    return with_conventions(trial, with_bias(trial, without_rows_of_keys(trial, found)))


def counted(found: ModuleManner, role: str) -> str:
    """That the argument of a role counts real tokens, if it does by its name; else ""."""
    return "counts" if counts(found.takes[role]) else ""


def with_counts(guess: ModuleManner, role: str) -> ModuleManner:
    """With that as its convention."""
    if not (answer := counted(guess, role)):
        return guess
    return replace(guess, conventions=replace(guess.conventions, **{role: answer}))


def without_rows_of_keys(trial: Trial, found: ModuleManner) -> ModuleManner:
    """Without a mask of pairs for one item alone, (T, S), where the argument takes one of keys and reads
    the first row as that of the item.
    """
    mask, padding = trial.roles["mask"], trial.roles["padding"]
    one = found.takes.get(mask) == found.takes.get(padding)
    if found.pairs.get(mask) != "T T" or not one or not trial.reads_one_row(found):
        return found
    return replace(found, takes={n: a for n, a in found.takes.items() if n != mask})


def taken(trial: Trial, guess: ModuleManner, name: str) -> str:
    """The shape in which such a mask is taken, "" if in none.

    With five items first, so that none can be taken for a query: a mask that is cut to the queries is not
    one for items. One of pairs then with as many as there are heads: one that falls on the heads is taken
    then, and judged.
    """
    counts = (KEYS + 1, trial.sizes.heads) if name == "mask" else (KEYS + 1,)
    for items in counts:
        for shape in trial.shapes if name == "mask" else trial.of_keys:
            of = {trial.roles[name]: shape}
            asked = replace(guess, pairs=of) if name == "mask" else replace(guess, keys=of)
            if trial.ask(asked, trial.telling(asked, name, items), items) is not None:
                return shape
    return ""


def with_bias(trial: Trial, found: ModuleManner) -> ModuleManner:
    """With the role of a bias where a mask of numbers is added to the scores; and then without those
    of masks where True is such a number.
    """
    mask, bias = trial.roles["mask"], trial.roles["bias"]
    argument = found.takes.get(mask)
    if not argument:
        return found
    both = replace(found, takes={**found.takes, bias: argument})
    if not trial.adds(both):
        return found
    mute = [
        trial.roles[name]
        for name in ("mask", "padding")
        if both.takes.get(trial.roles[name]) == argument and not trial.polarity(both, name)
    ]
    return replace(both, takes={n: a for n, a in both.takes.items() if n not in mute})


def with_conventions(trial: Trial, found: ModuleManner) -> ModuleManner:
    """With what True means; where one argument is for pairs and keys, it means the same in both."""
    mask, padding = trial.roles["mask"], trial.roles["padding"]
    plain = replace(found, conventions=Conventions())
    kept: dict[str, Any] = {
        trial.roles[name]: counted(found, trial.roles[name]) or trial.polarity(plain, name)
        for name in ("mask", "padding")
        if trial.roles[name] in found.takes
    }
    if len(kept) == 2 and found.takes[mask] == found.takes[padding]:
        kept[mask] = kept[padding]
    held = replace(found, conventions=replace(found.conventions, **kept))
    if mask not in found.takes or held.conventions.empty:
        return held
    return replace(held, conventions=replace(held.conventions, empty=trial.empty(held)))


def usable(
    found: ModuleManner,
    build: Build,
    sizes: Sizes,
    dtypes: tuple[str, ...],
    d_context: int = 0,
) -> list[str]:
    """The formats in which a context, every mask and the causal flag can be given: some hide by a number
    that a short format does not have.
    """
    plain, crossing = Trial(build, sizes), CrossTrial(build, sizes, d_context, KEYS)
    told = [
        (trial, trial.telling(found, name, 1))
        for trial in (plain, crossing)
        for name in ("mask", "padding")
        if trial.roles[name] in found.takes
    ]
    told += [(crossing, Arguments())] if "context" in found.takes else []
    told += [(plain, Arguments(causal=True))] if "causal" in found.takes else []
    return [
        dtype
        for dtype in dtypes
        if all(trial.ask(found, one, 1, dtype) is not None for trial, one in told)
    ]
