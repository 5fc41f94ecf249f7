"""A forward of two inputs by other names than x and a context, or the other way round: Perceiver's
forward(x, latents) makes queries of its second one. Which is which is seen by trial.

Legend: B batch, T tokens of one input, S of the other, C width.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import replace
from inspect import Parameter
from itertools import starmap
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import calls, given_masks, messages, trials
from properties.recognition.adapters.given_masks import GivenMasks
from properties.recognition.adapters.given_values import values_of
from properties.recognition.asking.roles import certain, role
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes

if TYPE_CHECKING:
    from properties.recognition.adapters.blueprint import Blueprint

EITHER = re.compile(r"latents?|image|text")
"""Names of a context that may as well be what queries are made of."""


class InOrder:
    """The forward of a module, called with x, of which queries are made, and a context. Scripts contain it
    as it is.
    """

    def __init__(self, module: nn.Module, queries: str, keys: str) -> None:
        """queries, keys: what the forward of the module calls these two."""
        self.module, self.queries, self.keys = module, queries, keys
        taken = inspect.signature(module.forward).parameters.values()
        first = (Parameter(n, Parameter.POSITIONAL_OR_KEYWORD) for n in ("x", "context"))
        others = (p for p in taken if p.name not in (queries, keys))
        self.__signature__ = inspect.Signature([*first, *others])

    def __call__(self, x: Tensor, context: Tensor, **others: Any) -> Any:
        """What it gives for x (B, T, C) and a context (B, S, C)."""
        given = {self.queries: x, self.keys: context}
        return type(self.module).forward(self.module, **given, **others)


def in_order(module: nn.Module, queries: str, keys: str) -> nn.Module:
    """The module, called with x and a context."""
    vars(module)["forward"] = InOrder(module, queries, keys)
    return module


def with_two_inputs(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or called with x and a context where forward takes these by other names or the other way
    round.
    """
    sizes = blueprint.sizes(heads)
    inputs = ordered(module, blueprint.owner, sizes)
    if not inputs:
        return blueprint, module
    note = "queries are made of {}, keys and values of {}, as of a context".format(*inputs)
    told = replace(blueprint.arguments, notes=(*blueprint.arguments.notes, note))
    blueprint = replace(blueprint, arguments=told, inputs=inputs)
    return blueprint, blueprint.attempt(Config(sizes), None)


def ordered(module: nn.Module, owner: str, sizes: Sizes) -> tuple[str, ...]:
    """The arguments of queries, and of keys and values, where a forward requires these two and they are not
    x and a context as they stand; () else. Where no trial tells, names do that leave no doubt.

    QuestionError where each row of the output changes with every token of both, and where a forward by
    other names holds more than attention.
    """
    call = calls.signature(module.forward)
    made = values_of(module)
    names = tuple(n for n in call.required if not (calls.hides(n) or n in made)) if call else ()
    if call is None or len(names) != 2 or taken_by_others(call, names):
        return ()
    first, second = names
    if certain(second) and not certain(first):
        return ()
    ways = ((first, second), (second, first))
    found = {tried(module, pair, call.required_masks, sizes): pair for pair in ways}
    if MIXED in found:
        raise mixed(owner, *found[MIXED])
    if BESIDE in found and (found[BESIDE] == ways[1] or role(second) != "context"):
        raise beside(owner, *found[BESIDE])
    if CROSSED not in found:
        return ways[1] if certain(first) and not certain(second) else ()
    if role(second) != "context":
        return found[CROSSED]
    exchanged = found[CROSSED] == ways[1] and (certain(first) or EITHER.fullmatch(second))
    return ways[1] if exchanged else ()


def taken_by_others(call: calls.Call, names: Iterable[str]) -> bool:
    """Whether arguments besides these two are called as `InOrder` calls them."""
    return not {"x", "context"}.isdisjoint({*call.required, *call.optional}.difference(names))


def tried(module: nn.Module, names: tuple[str, str], masks: tuple[str, ...], sizes: Sizes) -> str:
    """What a trial shows of these inputs, with the first form of the masks by which it shows anything."""
    forms = given_masks.forms(GivenMasks(masks, *names)) if masks else (GivenMasks((), *names),)
    return next(filter(None, (shown(module, names, form, sizes) for form in forms)), "")


CROSSED, MIXED, BESIDE = "crossed", "mixed", "beside"


def shown(module: nn.Module, names: tuple[str, str], masks: GivenMasks, sizes: Sizes) -> str:
    """`CROSSED` where queries are made of the first of these inputs alone, keys and values of the second:
    there is a row for each token of the first, which changes no other row; each token of the second changes
    all rows, and their order none. `BESIDE` where it is so, and rows differ though all tokens of the second
    are one, which any weights mix alike. `MIXED` where each of the first changes all rows as well; "" else.
    """
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    context = trials.random_input(sizes.batch, sizes.context_length, sizes.d_in, seed=1)

    def rows(*inputs: Tensor) -> Tensor | None:
        _, given = masks(module, (), dict(zip(names, inputs, strict=True)))
        return trials.call(lambda: module.eval()(**given)).output

    one = context[:, :1].expand_as(context)
    given = (
        (x, context),
        (otherwise(x), context),
        (x, otherwise(context)),
        (x, context.flip(1)),
        (x, one),
    )
    outputs = [output for output in starmap(rows, given) if output is not None]
    if len(outputs) < len(given) or any(o.shape[:2] != x.shape[:2] for o in outputs):
        return ""
    base, *changed, alike = outputs
    of_x, of_context, of_order = (~trials.near(o, base).all(dim=-1) for o in changed)
    if not of_context.all():
        return ""
    if of_x.all():
        return MIXED
    if not of_x[:, 0].all() or of_x[:, 1:].any() or of_order.any():
        return ""
    return CROSSED if trials.same(alike, alike[:, :1].expand_as(alike)) else BESIDE


def require_nothing_beside(module: nn.Module, owner: str, call: calls.Call, sizes: Sizes) -> None:
    """QuestionError where a forward of tokens and what may be a context holds more than attention."""
    queries, keys = call.required[0], call.context
    if shown(module, (queries, keys), GivenMasks((), queries, keys), sizes) == BESIDE:
        raise beside(owner, queries, keys)


def of_the_past(module: nn.Module, owner: str, call: calls.Call, sizes: Sizes) -> bool:
    """Whether a forward of tokens and what may be a context hides the future of the latter: each token of
    the first changes its own row alone, each of the second the rows that are not before it.

    QuestionError where it holds more than attention: the first row, which sees one key, changes with its
    query, or rows differ though all keys and values are one.
    """
    queries, keys = call.required[0], call.context
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)

    def rows(one: Tensor, other: Tensor) -> Tensor | None:
        return trials.call(lambda: module.eval()(**{queries: one, keys: other})).output

    others = [otherwise(x, token) for token in range(sizes.tokens)]
    given = [(x, x), (x, x[:, :1].expand_as(x))]
    given += [(other, x) for other in others] + [(x, other) for other in others]
    outputs = [output for output in starmap(rows, given) if output is not None]
    if len(outputs) < len(given):
        return False
    base, alike, *changed = outputs
    # (token, row): whether a row changes with a token of queries, and with one of keys
    of_x, of_y = torch.stack([~trials.near(o, base).all(dim=-1)[0] for o in changed]).chunk(2)
    own, later = torch.eye(sizes.tokens).bool(), torch.ones_like(of_y).triu()
    beside_it = bool(of_x[0, 0])
    of_x[0, 0] = True
    if not (torch.equal(of_x, own) and torch.equal(of_y, later)):
        return False
    if beside_it or not trials.same(alike, alike[:, :1].expand_as(alike)):
        raise beside(owner, queries, keys)
    return True


def otherwise(tokens: Tensor, changed: int = 0) -> Tensor:
    """The same with other numbers in one token of each item."""
    other = tokens.clone()
    other[:, changed] = trials.random_input(*other[:, changed].shape, seed=2)
    return other


def mixed(owner: str, rows: str, other: str) -> QuestionError:
    """The refusal of a module that is not attention of one input to the other."""
    return messages.refusal(
        f"{owner} gives a row for each token of {rows}, and each row changes with every token of {rows} "
        f"and of {other}: keys and values are not made of one of them alone.",
        f"queries made of {rows} alone, keys and values of {other} alone",
        f"name a class of attention that is given all keys as one input, those of {rows} among them",
    )


def beside(owner: str, queries: str, keys: str) -> QuestionError:
    """The refusal of a module that gives more than a mixture of values, as a block does."""
    return messages.refusal(
        f"{owner} is more than attention of {queries} to {keys}: where all tokens of {keys} are one, which "
        "any weights mix alike, its rows still differ. A residual of the queries that it projects, a gate, "
        "a key of its own or a feed-forward layer of these may do so.",
        "queries, keys, values, and an output projection",
        "name a class of its attention alone: what a block adds to that is not asked about",
    )
