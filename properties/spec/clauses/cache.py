"""cache/: a sequence may be fed in parts: what came before is kept, and is all that is kept.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.assertions import near, require
from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.budgets import difference
from properties.cases.case import Case
from properties.cases.steps import Steps, in_words, splits
from properties.spec.clause import Condition, Half, Level, clause
from properties.spec.clauses.conditions import SEVERAL_TOKENS
from properties.subjects.subject import CAUSAL_FAMILIES

AXES = "batch token column"
CACHE = {"cache", "projections"}
BY_TOKEN = "cache/token-by-token-equals-the-whole"
BY_CHUNK = "cache/any-split-equals-the-whole"
THREE_TOKENS = Condition("at least three tokens", lambda case: case.sizes.tokens > 2)
SEVERAL_ITEMS = Condition(
    "at least two batch items and two tokens",
    lambda case: case.sizes.batch > 1 and case.sizes.tokens > 1,
)


def agrees(what: str, found: Array, case: Case, first: int = 0) -> float:
    """Outputs for the case's tokens from `first` on are what one call on all of them should give."""
    right, allowed = case.trace.output[:, first:], case.budget.output[:, first:]
    return near(f"{what} an output of", found, right, allowed, AXES)


@clause(
    BY_TOKEN,
    Level.MUST,
    "A sequence that is fed token by token gives what one call on the whole of it gives.",
    families=CAUSAL_FAMILIES,
    needs=CACHE,
    counts=SEVERAL_TOKENS,
    after=("oracle/output-within-bound",),
)
def by_token(case: Case) -> float:
    """o_t = sum over s <= t of w_ts v_s: token t reads the keys and values of all tokens up to itself,
    and of no others. Held against the formula, not against the subject's own whole, with the bounds
    of that. A cache with a hole, that keeps its first chunk alone, that is written from its start, a
    token that does not see itself, and positions that do not go on where the cache ends give others.
    """
    lengths = [1] * case.sizes.tokens
    return agrees(in_words(lengths), Steps(case).run(case.x, lengths), case)


@clause(
    BY_CHUNK,
    Level.MUST,
    "A sequence that is fed in chunks of any lengths gives what one call on the whole of it gives.",
    families=CAUSAL_FAMILIES,
    needs=CACHE,
    counts=THREE_TOKENS,
    after=(BY_TOKEN,),
)
def by_chunk(case: Case) -> float | None:
    """A prompt, then token by token: 3, 1, 1 of five tokens. A prompt and then several at once: row i
    of a chunk sees the past and the chunk up to i, so that the causal mask of T queries and S keys
    is aligned bottom right. Aligned top left, or left out beside a cache, it hides or shows others.
    """
    shares = [
        agrees(in_words(lengths), Steps(case).run(case.x, lengths), case)
        for lengths in splits(case.sizes.tokens, case.cut)
    ]
    return max(shares, default=None)


@clause(
    "cache/second-sequence-is-a-first-one",
    Level.MUST,
    "After a sequence a second one is answered as by a new module: what was kept is forgotten.",
    families=CAUSAL_FAMILIES,
    needs=CACHE | {"reset cache"},
    counts=SEVERAL_TOKENS,
    after=(BY_CHUNK,),
)
def second_sequence(case: Case) -> float:
    """The second one is fed after a longer one and after a shorter one: a pointer, a mask or keys that
    stay behind show in either.
    """
    tokens = case.sizes.tokens
    head = max(1, tokens // 2)
    shares = []
    for first in (tokens, 1):
        steps = Steps(case)
        steps.run(case.other[:, :first], [1] * first)
        lengths = [head, *[1] * (tokens - head)]
        words = f"a second sequence, after one of {first} tokens, to give"
        shares.append(agrees(words, steps.run(case.x, lengths), case))
        short = steps.run(case.x[:, :head], [head])
        shares.append(agrees(words, short, first_tokens(case, head)))
    return max(shares)


def first_tokens(case: Case, count: int) -> Case:
    """The case with so many of its tokens, in the same room."""
    small = case.take(tokens=range(count))
    return replace(small, sizes=replace(small.sizes, context_length=case.sizes.context_length))


@clause(
    "cache/second-batch-may-be-of-another-size",
    Level.MUST,
    "A second sequence may have more items than the first one, or fewer.",
    families=CAUSAL_FAMILIES,
    needs=CACHE | {"reset cache"},
    counts=SEVERAL_ITEMS,
    after=("cache/second-sequence-is-a-first-one",),
)
def second_batch(case: Case) -> float:
    """Room that was laid out for the first batch is not the second one's."""
    one, lengths = case.take(batch=[0]), [1] * case.sizes.tokens
    shares = []
    for first, second in ((one, case), (case, one)):
        steps = Steps(case)
        steps.run(first.other, lengths)
        words = f"after a sequence of {first.sizes.batch} items one of {second.sizes.batch} to give"
        shares.append(agrees(words, steps.run(second.x, lengths), second))
    return max(shares)


@clause(
    "cache/items-keep-their-own",
    Level.MUST,
    "An item goes on from its own past: with another past in its neighbour its output stays.",
    families=CAUSAL_FAMILIES,
    needs=CACHE,
    counts=SEVERAL_ITEMS,
    after=("oracle/output-within-bound",),
)
def items_keep_their_own(case: Case) -> float | None:
    """Item 0 is given another past and the same last token. Of all others nothing has changed, so the
    bounds are those of two runs. Keys that are written for the first item alone, or read from it,
    change everybody's.
    """
    tokens = case.sizes.tokens
    if case.sizes.batch < 2 or tokens < 2:
        return None
    other = case.x.copy()
    other[0, :-1] = case.other[0, :-1]
    lengths = [tokens - 1, 1]
    kept, changed = (Steps(case).run(x, lengths)[1:, -1:] for x in (case.x, other))
    what = "with another past in item 0 the last output of every other item"
    return near(what, changed, kept, difference(case)[1:, -1:], AXES)


@clause(
    "cache/call-without-it-is-what-it-was",
    Level.MUST,
    "A call without the cache gives what it gave, before a sequence is fed, in the midst of one and "
    "after it.",
    families=CAUSAL_FAMILIES,
    needs=CACHE,
    counts=SEVERAL_TOKENS,
    after=("oracle/output-within-bound",),
)
def call_without_it(case: Case) -> float:
    """Somebody trains, looks at what the model writes, and trains on. A cache that is used once it is
    there answers the next batch from the last text.
    """
    steps = Steps(case)
    shares = [agrees("before a sequence", steps.alone(case.x), case)]
    state = steps.begin(case.sizes.batch)
    for token in range(min(2, case.sizes.tokens)):
        _, state = steps.step(state, case.other[:, token : token + 1])
    shares.append(
        agrees("without the cache, in the midst of a sequence", steps.alone(case.x), case)
    )
    steps.begin(case.sizes.batch)
    shares.append(agrees("without the cache, after a sequence", steps.alone(case.x), case))
    return max(shares)


@clause(
    "cache/past-of-the-caller-stays",
    Level.MUST,
    "A past that the caller holds is not written to: two sequences that go on from it do not meet.",
    families=CAUSAL_FAMILIES,
    needs=CACHE | {"cache of the caller"},
    counts=SEVERAL_TOKENS,
    after=(BY_CHUNK,),
)
def past_of_the_caller_stays(case: Case) -> float | None:
    """Beams, samples and retries share a prompt: each goes on from its keys and values."""
    tokens = case.sizes.tokens
    if tokens < 2:
        return None
    head = min(case.cut + 1, tokens - 1)
    forked = case.x.copy()
    forked[:, head:] = case.other[:, head:]
    steps = Steps(case)
    _, past = steps.step(steps.begin(case.sizes.batch), case.x[:, :head])
    shares = []
    for number, one in enumerate((replace(case, x=forked), case, replace(case, x=forked))):
        found, _ = steps.step(past, one.x[:, head:])
        words = f"continuation {number + 1} of one past of {head} tokens to give"
        shares.append(agrees(words, found, one, first=head))
    return max(shares)


@clause(
    "cache/too-long-is-refused",
    Level.MUST,
    "Where the past and the next tokens are more than context_length, the step is refused.",
    families=CAUSAL_FAMILIES,
    needs=CACHE | {"context-length"},
    after=(BY_CHUNK,),
    half=Half.GUARDED,
    brief="more tokens than the cache has room for",
)
def too_long(case: Case) -> None:
    """Written over its end, or from its start again, a cache is another sequence's. Whoever forgets the
    oldest tokens on purpose says so by another argument than context_length.
    """
    steps, full = Steps(case), filled_up(case)
    _, state = steps.step(steps.begin(case.sizes.batch), full)
    refused = refusal(steps, state, case.other[:, :1])
    words = f"token {full.shape[1] + 1} refused where context_length is {full.shape[1]}"
    require(refused, words, "an output")


@clause(
    "cache/refusing-loses-nothing",
    Level.MUST,
    "After a step that was refused for its length, a shorter one goes on from the same past.",
    families=CAUSAL_FAMILIES,
    needs=CACHE | {"context-length"},
    counts=SEVERAL_TOKENS,
    after=(BY_CHUNK,),
)
def refusing_loses_nothing(case: Case) -> float | None:
    """All but the last token are fed, then more than fit, then the last one. What writes before it
    looks, or counts, has another past then.
    """
    room = case.config().sizes.context_length
    steps, tokens = Steps(case), case.sizes.tokens
    if tokens < 2:
        return None
    _, state = steps.step(steps.begin(case.sizes.batch), case.x[:, :-1])
    more = np.concatenate([case.other[:, :1]] * (room - tokens + 2), axis=1)
    if not refusal(steps, state, more):
        return None
    last, _ = steps.step(state, case.x[:, -1:])
    words = f"after a step of {more.shape[1]} tokens was refused the next one to give"
    return agrees(words, last, case, first=tokens - 1)


def filled_up(case: Case) -> Array:
    """As many tokens as fit, (B, context_length, d_in)."""
    room = case.config().sizes.context_length
    return np.concatenate([case.x, *[case.other[:, :1]] * (room - case.sizes.tokens)], axis=1)


def refusal(steps: Steps, state: object, x: Array) -> bool:
    """Whether a step raises."""
    try:
        steps.step(state, x)
    except SubjectError:
        return True
    return False


@clause(
    "cache/recording-gradients-changes-nothing",
    Level.MUST,
    "A step gives the same whether it is recorded for gradients or not.",
    families=CAUSAL_FAMILIES,
    needs=CACHE | {"gradients"},
    counts=SEVERAL_TOKENS,
    after=(BY_CHUNK,),
)
def recording(case: Case) -> float:
    """Only no_grad() tells decoding from training, to some: a cache that is kept under it alone forgets
    what is fed without it.
    """
    lengths = [1] * case.sizes.tokens
    found = Steps(case).run(case.x, lengths, recording=True)
    return agrees("recorded for gradients and fed token by token", found, case)


@clause(
    "cache/gradients-without-it-are-what-they-were",
    Level.MUST,
    "After a sequence was fed, a call without the cache has the gradients that it had.",
    families=CAUSAL_FAMILIES,
    needs=CACHE | {"gradients", "reset cache"},
    counts=SEVERAL_TOKENS,
    after=("oracle/gradient-within-bound", "cache/call-without-it-is-what-it-was"),
)
def gradients_without_it(case: Case) -> float:
    """One trains on after having looked. Keys that were kept without a gradient are no part of it, nor
    of the next call, and nothing stays switched off.
    """
    instance, steps = case.build(), Steps(case)
    steps.module = instance.module
    steps.run(case.other, [1] * case.sizes.tokens)
    steps.begin(case.sizes.batch)
    found = instance.gradients(case.x, case.upstream)["x"]
    allowed = case.gradient_budget.x
    return near("after a sequence the gradient of", found, case.gradients.x, allowed, AXES)
