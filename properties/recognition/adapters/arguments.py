"""A constructor's arguments matched to the roles of the sources, by name and in any order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from inspect import Parameter, Signature
from typing import Any

from torch import nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import calls, messages
from properties.recognition.adapters.spellings import (
    ARGUMENTS,
    argument_role,
    is_context_width,
    meaning,
    misspelt_role,
)
from properties.subjects.subject import CAUSAL_FAMILIES, Config

FIXED: Mapping[str, object] = {"output_dropout": 0.0, "device": "cpu", "batch_first": True}
OPTIONAL = {"context_length": "context-length", "dropout": "dropout", "qkv_bias": "qkv-bias"}


@dataclass(frozen=True)
class Arguments:
    """What a constructor can be told: the argument that carries each role it has a place for.

    roles: role (a key of `ARGUMENTS`) -> argument; required: the arguments without a default;
    unasked: those that attention gives a meaning, and that no example varies; dropped_by: whether
    the one for dropout is a module, not a probability; readers: whether the one for key-value heads
    is told how many heads of queries read each of them, not how many there are.
    """

    owner: str
    roles: Mapping[str, str]
    required: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    unasked: Mapping[str, str] = field(default_factory=dict)
    dropped_by: bool = False
    readers: bool = False

    def has(self, *roles: str) -> bool:
        """Whether there is an argument for one of the roles."""
        return any(role in self.roles for role in roles)

    def rename(self, role: str, other: str) -> Arguments:
        """The same arguments with the one for `role` understood as `other`."""
        return replace(
            self, roles={other if key == role else key: name for key, name in self.roles.items()}
        )

    def values(self, config: Config, family: str | None) -> dict[str, object]:
        """Keyword arguments for `config`; family is None while it is not known.

        The wrapper's d_out is that of one head.
        """
        sizes = config.sizes
        width = sizes.head_dim if family == "wrapper" else config.width
        by_role: dict[str, object] = {
            "d_in": sizes.d_in,
            "d_out": width,
            "embed": width,
            "head_dim": sizes.head_dim,
            "value_dim": sizes.head_dim,
            "query_dim": sizes.head_dim,
            "num_heads": sizes.heads,
            "kv_heads": sizes.shared if self.readers else sizes.key_heads,
            "context_length": sizes.context_length,
            "d_context": sizes.d_in_of("key"),
            "dropout": nn.Dropout(config.dropout) if self.dropped_by else config.dropout,
            "qkv_bias": config.bias,
            **FIXED,
        }
        if family or self.has("num_heads") or self.roles.get("causal") in self.required:
            by_role["causal"] = family is None or family in CAUSAL_FAMILIES
        return {name: by_role[role] for role, name in self.roles.items() if role in by_role}

    def matched(self) -> dict[str, str]:
        """Role -> argument, as it is printed."""
        shown = {"embed": "d_in = d_out"}
        return {shown.get(role, role): name for role, name in self.roles.items()}


def read(target: Callable[..., Any], owner: str) -> Arguments:
    """Match the arguments of a class or factory called `owner`.

    Raises QuestionError where two arguments could carry one role or a required one has no
    known meaning.
    """
    parameters = named_parameters(signature_of(target, owner))
    candidates: dict[str, list[str]] = {}
    notes: list[str] = []
    unasked: dict[str, str] = {}
    for name, parameter in parameters.items():
        role, note = role_of(parameter, owner, target)
        if role:
            candidates.setdefault(role, []).append(name)
        elif meaning(name):
            unasked |= calls.unasked([name])
        if note:
            notes.append(note)
    roles = {role: only(names, role, owner, target) for role, names in candidates.items()}
    required = frozenset(n for n, p in parameters.items() if p.default is Parameter.empty)
    return understand_widths(Arguments(owner, roles, required, tuple(notes), unasked))


def signature_of(target: Callable[..., Any], owner: str) -> Signature:
    """The signature; if a class only passes arguments on, that of the class that takes them."""
    try:
        signature = inspect.signature(target)
        for base in target.__mro__[1:] if isinstance(target, type) else ():
            if named_parameters(signature) or not signature.parameters or base is object:
                break
            signature = inspect.signature(base)
    except (TypeError, ValueError) as error:
        raise messages.refusal(
            f"{owner} does not say what arguments it takes ({messages.described(error)}).",
            "a class or function with a readable signature",
            "name a factory function or an adapter:",
            messages.way_out(owner),
        ) from error
    return signature


def named_parameters(signature: Signature) -> dict[str, Parameter]:
    """The parameters that can be told by name."""
    open_ended = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return {n: p for n, p in signature.parameters.items() if p.kind not in open_ended}


def role_of(parameter: Parameter, owner: str, target: Any) -> tuple[str | None, str]:
    """The role of one parameter and a remark; QuestionError if it is needed and not understood."""
    name, optional = parameter.name, parameter.default is not Parameter.empty
    role = argument_role(name)
    if is_context_width(name) and calls.takes_context(target):
        role = "d_context"
    if role == "causal" and optional and not isinstance(parameter.default, bool):
        role = None  # a mask, not a switch
    if role:
        return role, ""
    if optional and meaning(name):
        return None, ""
    if optional:
        kept = f"argument {name} has no known meaning and keeps its default"
        return None, f"{kept}, {parameter.default!r}"
    role = misspelt_role(name)
    if role:
        return role, f"argument {name} is taken for {role}"
    raise messages.refusal(
        f"{owner} requires the argument {name!r}, which has no known meaning.",
        f"arguments named like those of the sources: {known()}",
        f"name a factory function that fills in {name!r}, or an adapter, in place of {owner}:",
        messages.way_out(owner, target),
    )


def known() -> str:
    """The roles with some of their spellings."""
    unsaid = {"value_dim", "query_dim", "kv_heads", "causal", *FIXED}
    return "; ".join(spellings(role) for role in ARGUMENTS if role not in unsaid)


def spellings(role: str) -> str:
    """The commonest spellings of a role."""
    return " / ".join(ARGUMENTS[role].split()[:4])


def only(names: list[str], role: str, owner: str, target: Any) -> str:
    """The single argument for a role; QuestionError if there are two."""
    if len(names) == 1:
        return names[0]
    raise ambiguous(owner, role, names, target)


def ambiguous(owner: str, role: str, names: list[str], target: Any = None) -> QuestionError:
    """The refusal that shows the candidates."""
    return messages.refusal(
        f"{owner}: {' and '.join(names)} could each be {role}.",
        "one argument for each role",
        "name a factory function that says which is which, or an adapter:",
        messages.way_out(owner, target),
    )


def understand_widths(arguments: Arguments) -> Arguments:
    """Say which width is meant by a size that may be d_in, d_out or both.

    embed_dim beside d_in is d_out, beside d_out it is d_in; a d_in alone is the width of both.
    """
    has = arguments.has
    if has("d_context") and has("query_dim") and not has("d_in", "embed"):
        arguments = arguments.rename("query_dim", "embed")
    has = arguments.has
    if not has("head_dim"):
        for role in ("value_dim", "query_dim"):
            if has(role):
                arguments = arguments.rename(role, "head_dim")
                break
    if has("embed") and has("d_in") and has("d_out"):
        names = [arguments.roles[role] for role in ("d_in", "d_out", "embed")]
        raise ambiguous(arguments.owner, "the width of the input or of the output", names)
    if has("embed") and has("d_in"):
        return arguments.rename("embed", "d_out")
    if has("embed") and has("d_out"):
        return arguments.rename("embed", "d_in")
    if has("d_in") and not has("d_out", "head_dim"):
        return arguments.rename("d_in", "embed")
    if has("d_out") and not has("d_in"):
        return arguments.rename("d_out", "embed")
    return arguments
