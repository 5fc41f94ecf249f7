"""error/: what cannot be attended to is refused, not answered with numbers.

Any exception is a refusal, an assert's among them. Where a wider reading of the input has one right
answer (a batch of batches, a longer sequence than was asked for), that answer will do as well.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from torch import nn

from properties.basics.assertions import near, require
from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases import probing
from properties.cases.budgets import difference
from properties.cases.case import Case, parameters
from properties.spec.clause import Condition, Half, Level, clause
from properties.spec.clauses.state import require_same_state
from properties.subjects.instance import Instance
from properties.subjects.subject import JOINED_FAMILIES, PROJECTED_FAMILIES, Config, Subject
from properties.truth.parameters import Weights

AXES = "batch token column"
OUTSIDE = (1.5, -0.1, float("nan"))  # no probabilities
ANSWER = "an output"
Numbers = list[tuple[str, ...]]  # of each tuple one is to be named


ROOM = Condition("a context_length above 1", lambda case: case.sizes.context_length > 1)


@clause(
    "error/too-many-tokens",
    Level.MUST,
    "More tokens than context_length are refused, or attended to as by a module made for as many.",
    needs={"context-length"},
    unless={"function"},
    counts=ROOM,
)
def too_many_tokens(case: Case) -> float:
    """The mask covers context_length tokens. One token more must not meet a mask that is cut or
    repeated. It has a right answer, and numbers that look like it are wrong without a word: so it
    belongs to the first half of the verdict. A context_length of 1 is a clause of its own.
    """
    return attended_beyond(case, case.sizes.context_length) if ROOM.holds(case) else 0.0


@clause(
    "error/context-of-one-token",
    Level.MUST,
    "A module with a context_length of 1 refuses two tokens, or hides the second from the first.",
    needs={"context-length"},
    unless={"function"},
    after=("error/too-many-tokens",),
    half=Half.EDGE,
    brief="context_length = 1 leaks",
    examples=1,
)
def context_of_one_token(case: Case) -> float:
    """A mask of 1 x 1 is broadcast over all scores, so nothing is hidden: nearly every module with a
    mask buffer does that. Nobody trains one for a single token, so it is told and decides nothing.
    Three tokens are asked besides.
    """
    return attended_beyond(case, 1)


def attended_beyond(case: Case, limit: int) -> float:
    """What a module made for `limit` tokens gives for more, where it gives anything."""
    worst = 0.0
    instance = limited(case, limit).build()
    for longer in beyond(case, limit):
        if instance.refusal(longer.x) is None:
            expected, allowed = meant(longer)
            output = instance.run(longer.x)
            probing.note(replace(longer.sizes, context_length=limit), longer.dtype)
            what = f"with context_length {limit}, {longer.sizes.tokens} tokens refused, or"
            worst = max(worst, right(what, output, expected, allowed))
    return worst


@clause(
    "error/too-many-tokens-raise",
    Level.SHOULD,
    "More tokens than context_length raise an error.",
    needs={"context-length"},
    unless={"function"},
    counts=ROOM,
    half=Half.GUARDED,
)
def too_many_tokens_raise(case: Case) -> None:
    """Who says how long a sequence may become wants to hear of a longer one: the positions of the
    model around the attention end there, too.
    """
    limit = case.sizes.context_length
    instance = case.build()
    for longer in beyond(case, limit) if ROOM.holds(case) else ():
        expected = f"{longer.sizes.tokens} tokens refused, at most {limit} fit"
        require(instance.refusal(longer.x) is not None, expected, ANSWER)


def limited(case: Case, limit: int) -> Case:
    """The case in a module that takes no more than `limit` tokens; its input may be longer."""
    return replace(case, sizes=replace(case.sizes, context_length=limit))


def beyond(case: Case, limit: int) -> Iterator[Case]:
    """One token too many, and more than twice as many as fit, in a module made for as many."""
    both = np.concatenate([case.x, case.other], axis=1)
    for tokens in (limit + 1, 2 * limit + 1):
        x = both[:, np.arange(tokens) % both.shape[1]]
        sizes = replace(case.sizes, tokens=tokens, context_length=tokens)
        yield replace(case, subject=grown(case, limit, tokens), sizes=sizes, x=x, other=x)


def meant(longer: Case) -> tuple[Array, Array]:
    """What so many tokens give and how far off a result may be: as in a module made for them, or by the
    rule by which positions of longer sequences are turned.
    """
    positions = longer.subject.positions
    if positions is None or positions.growth is None:
        return longer.output, difference(longer)
    return longer.trace.output, longer.budget.output


def grown(case: Case, limit: int, tokens: int) -> Subject:
    """The subject with positions as it turns so many tokens, where it is made for `limit`."""
    subject, positions = case.subject, case.subject.positions
    if positions is None or positions.growth is None:
        return subject
    longer = copy.copy(subject)
    longer.positions = positions.beyond(tokens, limit, case.sizes.head_dim)
    return longer


def right(what: str, output: Array, expected: Array, allowed: Array) -> float:
    """The output holds the expected numbers, whatever axes of length one it has beside them."""
    require(output.size == expected.size, f"{what} of shape {expected.shape}", f"{output.shape}")
    found = output.reshape(expected.shape)
    finite = np.isfinite(expected)
    for place in np.argwhere(np.isfinite(found) & ~finite)[:1]:
        where = dict(zip(AXES.split(), map(int, place), strict=True))
        require(False, f"{what} right", f"{found[tuple(place)]:.9g}", **where)
    return near(f"{what} right:", found, np.where(finite, expected, found), allowed, AXES)


@clause(
    "error/wrong-d_in",
    Level.MUST,
    "An input with another number of columns than d_in is refused.",
    families=PROJECTED_FAMILIES,
    half=Half.GUARDED,
    brief="wrong d_in",
)
def wrong_d_in(case: Case) -> None:
    """Cutting, filling up, broadcasting or rearranging numbers gives tokens that nobody sent."""
    instance, d_in = case.build(), case.sizes.d_in
    for columns in sorted({1, d_in - 1, d_in + 1, 2 * d_in} - {0, d_in}):
        require(
            instance.refusal(of_width(case, columns)) is not None,
            f"{columns} columns refused where d_in is {d_in}",
            ANSWER,
        )


def of_width(case: Case, columns: int) -> Array:
    """The input with another number of columns, in the axes that the subject takes."""
    x = case.x[..., np.arange(columns) % case.sizes.d_in]
    return x if case.subject.has("batched") else x[0]


@clause(
    "error/wrong-rank",
    Level.MUST,
    "An input of another number of axes is refused, or each sequence in it attended to alone.",
    half=Half.GUARDED,
    brief="wrong rank",
)
def wrong_rank(case: Case) -> float:
    """One axis is no sequence of tokens, so it must be refused. Where two, three or four are
    accepted beyond what the subject promises, the last two are tokens and columns; if they are
    taken for anything else, tokens are mixed with items.
    """
    instance = Instance(case.build().module, case.dtype, batched=True)  # what comes goes in whole
    refused = instance.refusal(case.x[0, 0]) is not None
    require(refused, "an input of one axis refused", ANSWER)
    allowed, worst = difference(case), 0.0
    readings = {
        2: (case.x[0], case.output[0], allowed[0]),
        3: (case.x, case.output, allowed),
        4: (np.stack([case.x, case.x]), np.stack([case.output] * 2), np.stack([allowed] * 2)),
    }
    promised = {3: case.subject.has("batched"), 2: case.subject.has("unbatched")}
    for axes, (x, expected, margin) in readings.items():
        if not promised.get(axes) and instance.refusal(x) is None:
            what = f"an input of {axes} axes refused, or in its first sequence"
            rows = (-1, *case.output.shape[1:])
            output = instance.run(x)
            share = right(what, output, expected.reshape(rows), margin.reshape(rows))
            worst = max(worst, share)
    return worst


@clause(
    "error/indivisible-heads",
    Level.MUST,
    "A d_out that the heads do not divide is refused at construction.",
    families=JOINED_FAMILIES,
    unless={"own-head-dim"},
    half=Half.GUARDED,
    brief="a d_out that the heads do not divide",
)
def indivisible_heads(case: Case) -> None:
    """Rounding head_dim down leaves columns out; rounding it up makes them from nothing."""
    config = indivisible(case)
    require(
        construction_refused(case, config) is not None,
        f"d_out {config.width} refused with {config.sizes.heads} heads",
        "a module",
    )


@clause(
    "error/indivisible-heads-lose-nothing",
    Level.MUST,
    "A module that takes a d_out which its heads do not divide raises when it is called, or puts out "
    "d_out columns.",
    families=JOINED_FAMILIES,
    unless={"own-head-dim", "function"},
)
def indivisible_heads_lose_nothing(case: Case) -> None:
    """To refuse at construction is another clause. Here a width that was asked for, and got without
    a word, is another one in what comes out.
    """
    config = indivisible(case)
    module = attempt(case, config)
    if isinstance(module, nn.Module):
        instance = Instance(module, case.dtype, batched=case.subject.has("batched"))
        x = np.resize(case.x, (*case.x.shape[:-1], config.sizes.d_in))
        if instance.refusal(x if instance.batched else x[0]) is None:
            columns, heads = instance.run(x).shape[-1], config.sizes.heads
            expected = f"d_out {config.width} refused with {heads} heads, or {config.width} columns"
            require(columns == config.width, expected, f"{columns} columns")


def indivisible(case: Case) -> Config:
    """A request for two heads or more with columns left over."""
    heads = max(2, case.sizes.heads)
    sizes = replace(case.sizes, heads=heads, groups=0)
    if not case.subject.has("rectangular"):
        sizes = replace(sizes, d_in=sizes.width)
    return replace(case.config(), sizes=sizes, odd=1 + case.seed % (heads - 1))


def construction_refused(case: Case, config: Config) -> str | None:
    """What is raised instead of a module of an indivisible width; None if there is a module."""
    made = attempt(case, config)
    return made if isinstance(made, str) else None


def attempt(case: Case, config: Config) -> nn.Module | str | None:
    """A module of an indivisible width, or what is raised instead; None where that tells nothing.

    No weights fit what should not exist. So it is asked for without any, as some subjects cannot
    be, and with some that fill the whole width, as others cannot be; what a subject raises of its
    own because of them (`SubjectError`) is no refusal.
    """
    text = None
    for weights in (None, *zeros(case, config)):
        try:
            module: nn.Module = case.subject.build(config, weights)
        except SubjectError:
            return None
        except Exception as error:  # being refused is what is asked for
            text = text or f"{type(error).__name__}: {error}"
        else:
            return module
    return text


def zeros(case: Case, config: Config) -> Iterator[Weights]:
    """Weights as wide as the request, where any can be set."""
    if case.weights is None:
        return
    sizes = {"out": (config.width, config.width)}
    sizes |= dict.fromkeys(("query", "key", "value"), (config.sizes.d_in, config.width))
    yield Weights(
        **{name: np.zeros(sizes.get(name, config.width)) for name in parameters(case.weights)}
    )


@clause(
    "error/dropout-out-of-range",
    Level.MUST,
    "A dropout outside [0, 1] is refused, at the latest in training; below 0 it may drop nothing.",
    needs={"dropout"},
    half=Half.GUARDED,
    brief="dropout outside [0, 1]",
)
def dropout_out_of_range(case: Case) -> float:
    """1.5 often stands for a percentage, and 1 / (1 - 1.5) turns every weight round. Of a negative
    p or NaN no weight is dropped; an implementation that then leaves all weights as they are does
    no harm, one that scales them does.
    """
    worst = 0.0
    for probability in OUTSIDE:
        try:
            output = case.run(training=True, dropout=probability)
        except SubjectError:
            continue
        require(not probability > 1.0, f"dropout {probability} refused", ANSWER)
        what = f"dropout {probability} refused, or as without any"
        worst = max(worst, near(what, output, case.output, difference(case), AXES))
    return worst


@clause(
    "error/dropout-out-of-range-at-construction",
    Level.SHOULD,
    "A dropout below 0 or above 1 is refused at construction.",
    needs={"dropout"},
    unless={"function"},
    after=("error/dropout-out-of-range",),
    half=Half.GUARDED,
)
def dropout_out_of_range_at_construction(case: Case) -> None:
    """A model is often built long before it is trained. NaN is left to training, for `nn.Dropout`
    itself takes it.
    """
    for probability in OUTSIDE[:2]:
        require(
            dropout_refused(case, probability) is not None,
            f"dropout {probability} refused at construction",
            "a module",
        )


def dropout_refused(case: Case, probability: float) -> str | None:
    """What the constructor raises; None if there is a module."""
    try:
        case.build(dropout=probability)
    except SubjectError as error:
        return f"{type(error.__cause__).__name__}: {error.__cause__}"
    return None


@clause(
    "error/refusing-changes-nothing",
    Level.MUST,
    "After a refused input the module's state and its answer to a valid one are what they were.",
)
def refusing_changes_nothing(case: Case) -> float:
    """A service that catches the error goes on with the same module."""
    instance = case.build()
    before = instance.state()
    refused = [str(x.shape) for x, _ in invalid(case) if instance.refusal(x) is not None]
    require_same_state(before, instance.state())
    what = f"after refusing {' and '.join(refused)} still"
    return near(what, instance.run(case.x), case.output, difference(case), AXES)


@clause(
    "error/messages-name-the-numbers",
    Level.SHOULD,
    "The text of an error names the offending numbers.",
    half=Half.GUARDED,
)
def messages_name_the_numbers(case: Case) -> None:
    """A reader sees at once what was given: 7 tokens where 6 fit, d_out 10 for 4 heads, p = 1.5."""
    for text, numbers in refusals(case):
        if text is not None:
            missing = [either for either in numbers if not any(names(text, n) for n in either)]
            expected = " and ".join(" or ".join(either) for either in numbers)
            require(not missing, f"an error that names {expected}", repr(text))


def refusals(case: Case) -> Iterator[tuple[str | None, Numbers]]:
    """Whatever the subject may refuse: what it says, and the numbers that it should name."""
    instance = case.build()
    for x, numbers in invalid(case):
        yield instance.refusal(x), numbers
    if case.subject.family in JOINED_FAMILIES:
        config = indivisible(case)
        numbers = [(str(config.width),), (str(config.sizes.heads),)]
        yield construction_refused(case, config), numbers
    if case.subject.has("dropout"):
        yield dropout_refused(case, 1.5), [("1.5",)]


def invalid(case: Case) -> Iterator[tuple[Array, Numbers]]:
    """Inputs to be refused, with the numbers that tell: what came, what would have been right."""
    s = case.sizes
    yield case.x[0, 0], [("1", str(s.d_in))]
    if case.subject.family != "plain":
        yield of_width(case, s.d_in + 1), [(str(s.d_in + 1),), (str(s.d_in),)]
    if case.subject.has("context-length"):
        longer = next(beyond(case, s.context_length))
        yield longer.x, [(str(longer.sizes.tokens),), (str(s.context_length),)]


def names(text: str, number: str) -> bool:
    """Whether the number stands in the text, not as a part of another."""
    return re.search(rf"(?<![\d.]){re.escape(number)}(?!\d|\.\d)", text) is not None
