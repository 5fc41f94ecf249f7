"""Modules that compute something else than attention of tokens, by what they say, hold or take. They are
refused with the reason: held against attention they would be accused of what they never meant to be.

Legend: B batch, T tokens, C width.
"""

from __future__ import annotations

import re
from functools import partial

import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import extras, messages, trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.draft import trial_config
from properties.recognition.adapters.image import SOUND, TOKENS_FIRST, sees_around
from properties.recognition.adapters.projections import Structure, find, left_over
from properties.recognition.adapters.spellings import LETTER
from properties.recognition.asking.on_itself import OnItself
from properties.subjects.instance import in_eval
from properties.truth.parameters import Sizes

SAID = {
    r"linear": "linear attention, without a softmax of the scores",
    r"diff(erential)?": "the difference of two attentions",
    r"channel": "attention among channels, not tokens",
    r"outlook": "outlook attention, whose weights are made of a token alone",
    r"additive|bahdanau": "additive attention, without products of queries and keys",
    r"fast_?weights?": "linear attention by fast weights",
    r"graph": "attention along the edges of a graph",
    r"deformable": "deformable attention, of places between tokens",
    r"sigmoid": "sigmoid attention, whose rows do not sum to one",
    r"relu|squared_relu": "attention by a rectifier, without a softmax",
    r"cosine|cos_sim": "cosine attention, of directions alone",
    r"top_?k|sparse": "attention of few keys",
    r"(sparse|ent)max": "attention by sparsemax or entmax",
    r"performer|favor|random_?features?": "attention by random features",
    r"softmax_?(1|one)": "attention with one more in the denominator of the softmax",
}
"""A word before Attention in the name of a class, and what it says."""
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
FEED_FORWARD = re.compile(r"(^|\.)(mlps?|ffn?|ffw|feed_?forward)(\.|$)", re.IGNORECASE)
FIRST = torch.tensor(0)
FIXED_TOKENS = (4, 9, 16, 25, 49, 50, 64, 65, 144, 196, 197, 256)
"""Numbers of tokens that a module for images may be made for: squares, and one token more."""


def said(owner: str) -> str:
    """What the name of a class says that it is, other than attention; "" for nothing."""
    name = plainly(owner)
    between = "_(multi_?head_|self_|cross_|causal_)*att(ention|n|end)"
    return next((t for word, t in SAID.items() if re.search(f"(^|_)({word}){between}", name)), "")


def plainly(text: str) -> str:
    """Words in lower case with one line between them: of LinearAttention, linear-attention and the like."""
    return re.sub(r"[\s_-]+", "_", HUMP.sub("_", text)).lower()


def input_taken(module: nn.Module, sizes: Sizes) -> str:
    """What a module runs on that gives no output for tokens (B, T, C): an image, or one number of tokens
    alone; "" for nothing found.
    """
    items, width = sizes.batch, sizes.d_in
    images = {"(B, 4, 4, C)": (items, 4, 4, width), "(B, C, 4, 4)": (items, width, 4, 4)}
    for axes, shape in images.items():
        if not trials.run(module, trials.random_input(*shape)).failure:
            return f"an input of 4 axes, {axes}"
    last = trials.random_input(items, width, sizes.tokens)
    if width != sizes.tokens and not trials.run(module, last).failure:
        return "an input whose last axis is that of tokens, (B, C, T)"
    for tokens in FIXED_TOKENS:
        if not trials.run(module, trials.random_input(items, tokens, width)).failure:
            return f"{tokens} tokens, and not on {sizes.tokens} or {sizes.context_length}"
    return ""


def require_all_queries(blueprint: Blueprint, module: nn.Module, family: str) -> None:
    """QuestionError where a module runs on one query for each item alone."""
    if not isinstance(module, OnItself):
        return
    sizes = trial_config(blueprint, family).sizes
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    for query, axes, tokens in (
        (x[:, 0], "(B, T, C)", "x"),
        (x[0], "(T, B, C)", "x.transpose(0, 1)"),
    ):
        trial = trials.call(partial(in_eval(module.inner), **named(module, query, x)))
        if trial.output is not None and trial.output.shape == query.shape:
            settings = blueprint.arguments.settings
            raise messages.refusal(
                f"{blueprint.owner} takes one query for each item, (B, C), beside keys and values {axes}.",
                "as many queries as tokens, (B, T, d_in)",
                "name a module that hands them over one after the other:",
                messages.rows(blueprint.owner, blueprint.target, module.tokens, tokens, settings),
            )


def named(module: OnItself, query: Tensor, x: Tensor) -> dict[str, Tensor]:
    """A query, and keys and values that are all tokens, by the names of the arguments."""
    return dict(zip(module.tokens, (query, x, x), strict=True))


def require_no_neighbours(blueprint: Blueprint, module: nn.Module) -> None:
    """QuestionError where a layer mixes neighbours in an image, which tokens have not."""
    if not sees_around(module):
        return
    raise messages.refusal(
        f"{blueprint.owner} gives no output for tokens (B, T, d_in), and has layers that mix neighbours in "
        "an image.",
        "queries, keys, values, and an output projection, as layers or convolutions of one pixel",
        "name a class of attention alone: what else stands among pixels is not asked about",
    )


def mixes_nothing(module: nn.Module, sizes: Sizes) -> bool:
    """Whether a module gives something for each token (B, T, ..) that no other token changes."""
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    before, after = (trials.run(module, t).output for t in (x, x.index_fill(1, FIRST, 7.0)))
    if before is None or after is None or before.shape[:2] != x.shape[:2]:
        return False
    pair = before[:, 1:], after[:, 1:]
    return trials.same(*pair) and not trials.same(before, after)


def pools(module: nn.Module, sizes: Sizes) -> bool:
    """Whether a module gives one row for each item, as wide whatever the number of tokens is."""
    shapes = []
    for tokens in (sizes.tokens, sizes.context_length):
        output = trials.run(module, trials.random_input(sizes.batch, tokens, sizes.d_in)).output
        shapes.append(None if output is None else output.shape)
    first, second = shapes
    return (
        first == second and first is not None and first[:-1] in ((sizes.batch,), (sizes.batch, 1))
    )


def unknown(module: nn.Module, structure: Structure | None) -> list[str]:
    """The parameters that are none of the matrices, and of no kind that can be put out of action."""
    if structure is None:
        return [name for name, _ in module.named_parameters()]
    return [name for name in left_over(module, structure) if not extras.kind_of(name)]


def feed_forward(module: nn.Module, structure: Structure | None) -> str:
    """The path of a feed-forward layer, of those parameters that are none of the matrices; "" for none."""
    names = left_over(module, structure) if structure is not None else []
    found = (FEED_FORWARD.search(name) and name for name in names)
    first = next(filter(None, found), "")
    match = FEED_FORWARD.search(first)
    return first[: match.end(2)] if match else ""


def require_tokens(
    blueprint: Blueprint, module: nn.Module, structure: Structure | None, family: str
) -> None:
    """QuestionError where a module gives one row for all tokens, or mixes none and has no matrices, or
    holds a feed-forward layer besides; and where one for images holds anything besides.
    """
    if pools(module, trial_config(blueprint, family).sizes):
        raise messages.refusal(
            f"{blueprint.owner} gives one row for all tokens, however many there are: it pools them.",
            "as many rows as tokens, (B, T, d_out)",
            "name a class that gives an output for each token: nothing here is asked of a pool",
        )
    pixels = blueprint.image not in ("", TOKENS_FIRST)
    if pixels and (names := unknown(module, find(module, blueprint.owner))):
        taken = "sound" if blueprint.image == SOUND else "images"
        raise messages.refusal(
            f"{blueprint.owner} takes {taken}, and holds {messages.listed(names)} besides what is known.",
            "queries, keys, values, and an output projection, as layers or convolutions of one pixel",
            "name a class of attention alone: what else stands among pixels is not asked about",
        )
    if structure is None and mixes_nothing(module, trial_config(blueprint, family).sizes):
        raise messages.refusal(
            f"{blueprint.owner} makes of each token something by itself: no other token changes it.",
            "attention, which mixes tokens, or layers like W_query, W_key, W_value",
            "name the class that calls it: what it makes may be queries, keys or values",
        )
    if layer := feed_forward(module, structure):
        raise messages.refusal(
            f"{blueprint.owner} is more than attention: {layer} is a feed-forward layer.",
            "queries, keys, values, and an output projection",
            f"name the class of its attention{place_of(module, structure)}, or one without {layer}",
        )


def place_of(module: nn.Module, structure: Structure | None) -> str:
    """The class of its attention, " (torch.nn.modules.activation:MultiheadAttention)"; "" for none."""
    path = "" if structure is None else structure.cells["query"][0].path
    part = dict(module.named_children()).get(path.partition(".")[0])
    if part is None or len(list(part.parameters())) < len(LETTER):
        return ""
    return f" ({type(part).__module__}:{type(part).__name__})"


def is_another(blueprint: Blueprint, said_to_be: str, family: str) -> QuestionError:
    """The refusal of a class that is called after another function, and computes no attention."""
    return messages.refusal(
        f"{blueprint.owner} is by its name {said_to_be}, and a call does not give what attention does.",
        "softmax(Q K^T / sqrt(D)) V, or a class that is called otherwise",
        f"ask all the same by --family {family}, where the name says something else",
    )
