"""Whether several heads of queries of a module read one head of keys and values."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from properties.basics.errors import QuestionError, SubjectError
from properties.recognition.adapters import trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.draft import Draft, found_in, trial_config
from properties.recognition.adapters.loading import shapes
from properties.subjects.subject import JOINED_FAMILIES, Config
from properties.truth.parameters import Sizes


def offer_groups(draft: Draft, blueprint: Blueprint) -> Blueprint:
    """Claim fewer heads of keys than of queries where keys and values are narrower, always or by an
    argument.
    """
    if not blueprint.arguments.has("kv_heads"):
        return offer_one_group(draft, blueprint)
    name = blueprint.arguments.roles["kv_heads"]
    sizes = trial_config(blueprint, draft.family).sizes
    told = groups_told(blueprint, draft.family, sizes)
    if told is None:
        draft.unasked[name] = "fewer heads of keys than of queries: there are always as many"
        return blueprint
    optional = name not in blueprint.arguments.required
    if optional and "." not in name and raises(told, draft.family, sizes):
        draft.unasked[name] = "fewer heads of keys than of queries: a call raises then"
        return blueprint
    draft.capabilities.add("groups")
    del draft.matched["kv_heads"]
    draft.matched["heads per key head" if told.arguments.readers else "key-value heads"] = name
    return told


def offer_one_group(draft: Draft, blueprint: Blueprint) -> Blueprint:
    """Claim that all heads read one head of keys and values, where these are as wide as one."""
    if draft.family not in JOINED_FAMILIES:
        return blueprint
    sizes = trial_config(blueprint, draft.family).sizes
    if fits(blueprint, draft.family, sizes) or not fits(
        blueprint, draft.family, replace(sizes, groups=1)
    ):
        return blueprint
    draft.capabilities.add("one group")
    draft.notes.append("all heads of queries read one head of keys and values")
    return replace(blueprint, one_group=True)


def fits(blueprint: Blueprint, family: str, sizes: Sizes) -> bool:
    """Whether a module is built whose keys have these sizes."""
    with suppress(SubjectError, QuestionError):
        structure = found_in(blueprint.attempt(Config(sizes), family), blueprint.owner, False)
        shapes(structure, "key", sizes)
        return True
    return False


def groups_told(blueprint: Blueprint, family: str, sizes: Sizes) -> Blueprint | None:
    """The blueprint that makes two key-value heads for six heads; None where none does."""
    sizes = replace(sizes, heads=6, groups=2)
    if blueprint.square:
        sizes = replace(sizes, d_in=sizes.width)
    for readers in (False, True):
        told = replace(blueprint, arguments=replace(blueprint.arguments, readers=readers))
        if fits(told, family, sizes):
            return told
    return None


def raises(blueprint: Blueprint, family: str, sizes: Sizes) -> bool:
    """Whether a call of a module raises with two key-value heads for six, and with six does not."""
    sizes = replace(sizes, heads=6, d_in=6 * sizes.head_dim if blueprint.square else sizes.d_in)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    few, many = (
        trials.run(blueprint.attempt(Config(replace(sizes, groups=groups)), family), x)
        for groups in (2, 0)
    )
    return many.output is not None and few.output is None
