"""Which projections of a module have a bias, and what rules it."""

from __future__ import annotations

from dataclasses import replace

from properties.recognition.adapters import projections
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.draft import Draft, trial_config
from properties.recognition.adapters.projections import Structure
from properties.recognition.adapters.spellings import LETTER


def alone(blueprint: Blueprint) -> Blueprint | None:
    """The same with biases always; None where no argument says whether there are any."""
    told = blueprint.arguments
    flag = told.roles.get("qkv_bias")
    if flag is None:
        return None
    roles = {role: name for role, name in told.roles.items() if role != "qkv_bias"}
    asked = {**told.unasked, flag: "projections without biases: forward gives no output"}
    told = replace(told.fixing({flag: True}), roles=roles, unasked=asked)
    return replace(blueprint, arguments=told)


def offer_biases(draft: Draft, blueprint: Blueprint, structure: Structure) -> Blueprint:
    """Claim the biases there are and what rules them; return the blueprint to build by."""
    present = [c.bias is not None for role in LETTER for c in structure.cells[role]]
    projected = "out-projection" in draft.capabilities
    if name := blueprint.arguments.biases:
        if keys_lack_bias(blueprint, draft):
            draft.capabilities -= {"qkv-bias"}
            draft.unasked[name] = "biases: keys have none, which no weight depends on"
        elif projected and out_bias(blueprint, draft, True) != out_bias(blueprint, draft, False):
            draft.capabilities -= {"qkv-bias"}
            draft.capabilities |= {"always-biased", "out-bias"}
            draft.lacking["qkv-bias"] = (
                f"{name} also rules the bias of the output projection, so it is always True here"
            )
            return replace(blueprint, biased=True)
    elif all(present):
        draft.capabilities.add("always-biased")
    elif any(present):
        draft.notes.append("only some of queries, keys, values have a bias; it is set to zero")
        biased = tuple(r for r in LETTER if structure.cells[r][0].bias is not None)
        draft.spare_biases = biased if biased in (("query", "value"), ("value",)) else ()
    if projected:
        reason = "the output projection has no bias"
        draft.settle("out-bias", out_bias(blueprint, draft, False), reason)
    return blueprint


def keys_lack_bias(blueprint: Blueprint, draft: Draft) -> bool:
    """Whether with biases queries and values have some and keys have none."""
    config = replace(trial_config(blueprint, draft.family), bias=True)
    structure = projections.find(blueprint.attempt(config, draft.family), blueprint.owner)
    has = {role: structure.cells[role][0].bias is not None for role in LETTER} if structure else {}
    return has == {"query": True, "key": False, "value": True}


def out_bias(blueprint: Blueprint, draft: Draft, bias: bool) -> bool:
    """Whether the output projection has a bias in a module built with or without bias."""
    config = replace(trial_config(blueprint, draft.family), bias=bias)
    structure = projections.find(blueprint.attempt(config, draft.family), blueprint.owner)
    return structure is not None and structure.out is not None and structure.out.bias is not None
