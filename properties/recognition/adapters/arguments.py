"""A constructor's arguments matched to the roles of the sources, by name and in any order."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import Parameter, Signature
from types import MappingProxyType
from typing import Any

from torch import nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import (
    calls,
    configs,
    handed_layers,
    messages,
    standin,
    surroundings,
)
from properties.recognition.adapters.argument_names import ARGUMENTS
from properties.recognition.adapters.configs import Holder, Understood
from properties.recognition.adapters.spellings import (
    INPUT,
    argument_role,
    is_block,
    is_context_width,
    meaning,
    required_role,
)
from properties.recognition.adapters.standin import Path
from properties.recognition.adapters.surroundings import Surroundings
from properties.subjects.subject import CAUSAL_FAMILIES, Config
from properties.truth.parameters import Sizes

FIXED: Mapping[str, object] = {
    "output_dropout": 0.0,
    "device": "cpu",
    "batch_first": True,
    "scaled": True,
    "rank": 1,
    "rank_scale": 1,
    "rank_dropout": 0.0,
}
SQUARE = Sizes(batch=3, tokens=5, d_in=8, heads=2, head_dim=4, context_length=7)
ONE_BIAS = re.compile(r"(use_)?(q|k|v|query|key|value)_bias", re.IGNORECASE)
INNER_WIDTH = re.compile(r"qkv|inner", re.IGNORECASE)
INPUT_WIDTH = re.compile(r"(key|value)_(size|dim|features)", re.IGNORECASE)
LAYERS = {*handed_layers.ROLES.values(), handed_layers.FUSED}
OPTIONAL = {"context_length": "context-length", "dropout": "dropout", "qkv_bias": "qkv-bias"}


@dataclass(frozen=True)
class Arguments:
    """What a constructor can be told: the argument that carries each role it has a place for.

    roles: role (a key of `ARGUMENTS`) -> argument, or setting of one that holds several
    ("config.n_embd"); required: those without a default; unasked: those that attention gives a
    meaning, and that no example varies; dropped_by: whether the one for dropout is a module, not a
    probability; readers: whether the one for key-value heads is told how many heads of queries read
    each of them, not how many there are; holders: the arguments that hold settings, and paths: where
    each of these is; fixed: the arguments that no example varies; used: which of the values that
    somebody chose have a place here, of all names that may be given one; around: the names that are
    read from the target's own module, and lent: by which name each of these has its role; untold: those
    without a meaning that are given False, which no call has shown to be right; beside: the settings that
    have the role of an argument, by name, and are told the same.
    """

    owner: str
    roles: Mapping[str, str]
    required: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    unasked: Mapping[str, str] = field(default_factory=dict)
    dropped_by: bool = False
    readers: bool = False
    holders: tuple[Holder, ...] = ()
    paths: Mapping[str, Path] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    around: Surroundings = field(default_factory=Surroundings)
    lent: Mapping[str, str] = field(default_factory=dict)
    untold: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)

    def has(self, *roles: str) -> bool:
        """Whether there is an argument for one of the roles."""
        return any(role in self.roles for role in roles)

    def rename(self, role: str, other: str) -> Arguments:
        """The same arguments with the one for `role` understood as `other`."""
        roles = {other if key == role else key: name for key, name in self.roles.items()}
        beside = {name: other if key == role else key for name, key in self.beside.items()}
        return replace(self, roles=roles, beside=beside)

    def fixing(self, values: Mapping[str, Any]) -> Arguments:
        """The same with these values, by name, which no example varies."""
        held = {self.paths[name]: value for name, value in values.items() if name in self.paths}
        own = {name: value for name, value in values.items() if name not in self.paths}
        holders = tuple(
            replace(one, fixed={**one.fixed, **one.fixing(held).fixed}) for one in self.holders
        )
        return replace(self, holders=holders, fixed={**self.fixed, **own})

    def values(self, config: Config, family: str | None) -> dict[str, object]:
        """Keyword arguments for `config`; family is None while it is not known.

        The wrapper's d_out is that of one head.
        """
        by_role = self.by_role(config, family)
        told = {name: by_role[role] for name, role in self.carrying.items() if role in by_role}
        outside = {*self.paths, *map(shown_global, self.lent)}
        given = {name: value for name, value in told.items() if name not in outside}
        for holder in self.holders:
            paths = {n: p for n, p in self.paths.items() if p[0] == holder.argument and n in told}
            given[holder.argument] = holder.make({p[1:]: told[n] for n, p in paths.items()})
        return {**given, **self.fixed}

    @property
    def carrying(self) -> dict[str, str]:
        """Every argument and setting that is told something, with its role."""
        return {name: role for role, name in self.roles.items()} | dict(self.beside)

    def surrounding(self, config: Config, family: str | None) -> dict[str, object]:
        """The values for `config` of names that are read from the target's module; see `values`."""
        by_role = self.by_role(config, family)
        told = {name: by_role[role] for role, name in self.roles.items() if role in by_role}
        return {name: told[carrier] for name, carrier in self.lent.items() if carrier in told}

    def by_role(self, config: Config, family: str | None) -> dict[str, object]:
        """The value of each role for `config`; see `values`."""
        sizes = config.sizes
        width = sizes.head_dim if family == "wrapper" else config.width
        by_role: dict[str, object] = {
            "d_in": sizes.d_in,
            "d_out": width,
            "embed": width,
            "head_dim": sizes.head_dim,
            "value_dim": sizes.head_dim,
            "query_dim": sizes.head_dim,
            "rotary_dim": sizes.head_dim,  # the whole head, since no other number fits every size
            "latent": sizes.d_in,  # as wide as the tokens, so that any projection is a product
            "query_latent": sizes.d_in,
            "divisor": sizes.head_dim,  # whose root divides the scores
            "num_heads": sizes.heads,
            "kv_heads": sizes.shared if self.readers else sizes.key_heads,
            "context_length": sizes.context_length,
            "d_context": sizes.d_in_of("key"),
            "max_batch": 2 * sizes.batch,  # some laws put a batch beside another one
            "dropout": nn.Dropout(config.dropout) if self.dropped_by else config.dropout,
            "qkv_bias": config.bias,
            "both_ways": family is not None and family not in CAUSAL_FAMILIES,
            **FIXED,
            "layer": config.layer,
        }
        for role in LAYERS & set(self.roles):
            by_role[role] = handed_layers.made(role, sizes, config.bias)
        if family or self.has("num_heads") or self.roles.get("causal") in self.required:
            by_role["causal"] = family is None or family in CAUSAL_FAMILIES
        return by_role

    @property
    def biases(self) -> str:
        """The argument that rules whether queries, keys and values have a bias, "" for none; layers that
        are handed over are made with it or without.
        """
        return next(
            (self.roles[r] for r in ("qkv_bias", *handed_layers.BIASED) if r in self.roles), ""
        )

    @property
    def settings(self) -> messages.Settings:
        """How the arguments that hold settings are made in advice."""
        return configs.advised(self.holders, self.paths, self.carrying)

    def matched(self) -> dict[str, str]:
        """Role -> argument, as it is printed."""
        shown = {"embed": "d_in = d_out"}
        return {shown.get(role, role): name for role, name in self.roles.items()}


def read(
    target: Callable[..., Any], owner: str, told: Mapping[str, Any] = MappingProxyType({})
) -> Arguments:
    """Match the arguments of a class or factory called `owner`.

    told: by name, values that somebody has chosen for what has no known meaning.

    Raises QuestionError where two arguments could carry one role or a required one has no
    known meaning.
    """
    parameters = named_parameters(signature_of(target, owner))
    require_no_input(target, owner, parameters)
    roles = {name: role_of(parameter, target) for name, parameter in parameters.items()}
    roles |= dict.fromkeys(of_what_values_are_made_of(roles, parameters))
    if "rank" not in roles.values():  # then alpha may be anything
        roles |= dict.fromkeys(n for n, role in roles.items() if role == "rank_scale")
    roles |= dict.fromkeys(of_inputs_beside_queries(roles, parameters))
    named = partial(role_named, target=target)
    around = surroundings.found(target, named)
    meant = {name: str(named(name)) for name in around.names}
    with around.lent({n: trial_values()[role] for n, role in meant.items()}):
        found = settings(target, owner, parameters, roles, told)
    roles |= {n: role_in_settings(p[-1], target) for n, p in found.paths.items() if p[1:]}
    for holder in found.holders:
        del roles[holder.argument]
    carried = {role: name for name, role in roles.items() if role}
    lent = {n: carried.setdefault(role, shown_global(n)) for n, role in meant.items()}
    roles |= {shown_global(n): role for n, role in meant.items() if lent[n] == shown_global(n)}
    paths = {name: found.paths.get(name, (name,)) for name in roles}
    candidates = by_role(roles)
    general = [n for n in roles if roles[n] == "qkv_bias" and n not in candidates["qkv_bias"]]
    spare = given_way(candidates, parameters)
    chosen = pinned(candidates, roles, paths, told)
    beside = settings_beside(candidates, paths) | biases_beside(candidates)
    beside |= inner_widths_beside(candidates)
    if found.unknown:
        raise unknown(owner, target, found, candidates)
    optional = {n for n, p in parameters.items() if p.default is not Parameter.empty}
    kept = [n for n in roles if not roles[n] and n not in chosen and n not in found.switches]
    told_always = {**dict.fromkeys(general, False), **chosen}
    fixed = {**found.fixed, **{paths[name]: value for name, value in told_always.items()}}
    arguments = Arguments(
        owner,
        {role: only(names, role, owner, target) for role, names in candidates.items()},
        frozenset(set(roles) - optional),
        (*remarks(parameters, roles, kept, found, told, chosen), *spare),
        {**calls.unasked(kept), **partly_turned(candidates.get("rotary_dim", []))},
        holders=tuple(holder.fixing(fixed) for holder in found.holders),
        paths={n: p for n, p in paths.items() if p[1:]},
        fixed={path[0]: value for path, value in fixed.items() if not path[1:]},
        used=frozenset(n for n in told if any(standin.names(n, p) for p in paths.values())),
        names=tuple(dict.fromkeys(path[-1] for path in paths.values())),
        around=around,
        lent=lent,
        untold=tuple(name for name, shown in found.switches.items() if not shown),
        beside=beside,
    )
    return understand_widths(arguments, target)


def require_no_input(
    target: Callable[..., Any], owner: str, parameters: Mapping[str, Parameter]
) -> None:
    """QuestionError where a function takes x and its own parameters: it makes no module."""
    needed = [n for n, p in parameters.items() if p.default is Parameter.empty]
    taken = [n for n in needed if INPUT.fullmatch(n) and not argument_role(n)]
    if not inspect.isfunction(target) or len(taken) != 1:
        return
    others = [n for n in needed if n != taken[0]]
    raise messages.refusal(
        f"{owner} takes {taken[0]} itself, and {messages.listed(others)} beside it: it is no factory of "
        "modules.",
        "a class, a factory of modules, a function of queries, keys and values, or one of x alone",
        "hold its parameters in a module:",
        messages.holding(owner, taken[0], {n: argument_role(n) or "" for n in others}),
    )


def partly_turned(names: Iterable[str]) -> dict[str, str]:
    """What is not asked of these arguments: all columns are turned."""
    return dict.fromkeys(names, "how many columns of a head positions turn: all of them")


def trial_values() -> dict[str, object]:
    """The value of each role in a first trial."""
    every = Arguments("", dict.fromkeys(("num_heads", "causal", *LAYERS), ""))
    return every.by_role(Config(SQUARE), None)


def shown_global(name: str) -> str:
    """How a name of the target's own module is printed."""
    return f"{name} of its module"


def settings(
    target: Callable[..., Any],
    owner: str,
    parameters: Mapping[str, Parameter],
    roles: Mapping[str, str | None],
    told: Mapping[str, Any],
) -> Understood:
    """What is read of the arguments that have no meaning of their own and are needed."""
    standing = {
        n: p for n, p in parameters.items() if n not in told and stands(p, roles[n], target)
    }
    if not standing:
        return Understood()
    values = trial_values()
    given = {name: values[role] for name, role in roles.items() if role in values}
    given |= {n: told[n] for n in parameters if n in told and not roles[n]}
    return configs.understand(
        target, standing, given, values, told, partial(role_in_settings, target=target)
    )


def stands(parameter: Parameter, role: str | None, target: Any) -> bool:
    """Whether an argument may hold settings: it is required, its default is an object of them, or it is
    called so, with the class of such an object for its type.
    """
    required = parameter.default is Parameter.empty
    if role or required or standin.is_config(parameter.default):
        return not role
    called = parameter.default is None and bool(configs.CONFIG.search(parameter.name))
    return called and configs.class_of(parameter, target) is not None


def by_role(roles: Mapping[str, str | None]) -> dict[str, list[str]]:
    """The names for each role.

    Of two dropouts, of which one is named after attention, the other is that of the output.
    """
    found: dict[str, list[str]] = {}
    for name, role in roles.items():
        if role:
            found.setdefault(role, []).append(name)
    both = found.get("dropout", [])
    own = of_attention(both)
    if len(both) == 2 and len(own) == 1 and "output_dropout" not in found:
        found["dropout"], found["output_dropout"] = own, [n for n in both if n not in own]
    biases = found.get("qkv_bias", [])
    own = of_attention(biases)
    if len(biases) == 2 and len(own) == 1:  # the other is that of all layers, which have none here
        found["qkv_bias"] = own
    return found


def of_what_values_are_made_of(
    roles: Mapping[str, str | None], parameters: Mapping[str, Parameter]
) -> list[str]:
    """The names for the width of the input of values, and not of a head: as in torch's own module they
    are None by default, beside one for that of keys.
    """
    spare = [name for name, parameter in parameters.items() if parameter.default is None]
    of_keys = any(is_context_width(name) for name in spare)
    return [name for name in spare if of_keys and roles[name] == "value_dim"]


def of_inputs_beside_queries(
    roles: Mapping[str, str | None], parameters: Mapping[str, Parameter]
) -> list[str]:
    """The names for the widths of the input of keys and of values, and not of a head: None by default,
    beside a width of queries that is required and one of the output.
    """
    widths = {role: name for name, role in roles.items() if role in ("query_dim", "d_out")}
    inputs = [n for n in parameters if INPUT_WIDTH.fullmatch(n) and parameters[n].default is None]
    required = parameters.get(widths.get("query_dim", ""))
    if len(widths) < 2 or required is None or required.default is not Parameter.empty:
        return []
    return inputs if len(inputs) == 2 else []


def of_attention(names: list[str]) -> list[str]:
    """Those that say that they are attention's own."""
    return [name for name in names if re.search("att", name.rpartition(".")[2], re.IGNORECASE)]


def given_way(candidates: dict[str, list[str]], parameters: Mapping[str, Parameter]) -> list[str]:
    """Remarks on arguments that are None by default and have the role of one that is required.

    They keep that default: context_length has to be given, and max_seq_len=None may be beside it.
    """
    notes = []
    for names in candidates.values():
        known = [parameters[name].default for name in names if name in parameters]
        spare = [n for n in names if n in parameters and parameters[n].default is None]
        if spare and Parameter.empty in known:
            names[:] = [name for name in names if name not in spare]
            notes.append(f"{messages.listed(spare)} keeps its default, None, beside {names[0]}")
    return notes


def settings_beside(
    candidates: Mapping[str, list[str]], paths: Mapping[str, Path]
) -> dict[str, str]:
    """The settings whose role an argument has as well, which carries it alone from now on; and of several
    for the width of tokens, as hidden_size and embedding_size, all but the first.
    """
    found: dict[str, str] = {}
    for role, names in candidates.items():
        own = [name for name in names if not paths[name][1:]]
        if not own and role == "embed":
            own = names[:1]
        if len(own) == 1:
            found |= {name: role for name in names if name not in own}
            names[:] = own
    return found


def inner_widths_beside(candidates: Mapping[str, list[str]]) -> dict[str, str]:
    """The width of all heads together beside that of the output, as qkv_features: told the same."""
    names = candidates.get("d_out", [])
    inner = [name for name in names if INNER_WIDTH.search(name)]
    if len(names) - len(inner) == 1:
        names[:] = [name for name in names if name not in inner]
        return dict.fromkeys(inner, "d_out")
    return {}


def biases_beside(candidates: Mapping[str, list[str]]) -> dict[str, str]:
    """The switches for the bias of one of queries, keys and values beside another one, which are told the
    same; beside a switch for all three they keep their defaults.
    """
    names = candidates.get("qkv_bias", [])
    single = [name for name in names if ONE_BIAS.fullmatch(name.rpartition(".")[2])]
    several = [name for name in names if name not in single]
    names[:] = several or single[:1]
    return {} if several else dict.fromkeys(single[1:], "qkv_bias")


def pinned(
    candidates: dict[str, list[str]],
    roles: Mapping[str, str | None],
    paths: Mapping[str, Path],
    told: Mapping[str, Any],
) -> dict[str, Any]:
    """The values that somebody has chosen, by name; a role that has another name besides loses this.

    What alone carries a role is left to the examples.
    """
    found = {}
    for name, path in paths.items():
        value = standin.chosen(told, path)
        rivals = candidates.get(roles[name] or "", [])
        if value is not standin.ABSENT and rivals != [name]:
            found[name] = value
            rivals[:] = [other for other in rivals if other != name]
    return found


def remarks(
    parameters: Mapping[str, Parameter],
    roles: Mapping[str, str | None],
    kept: Iterable[str],
    found: Understood,
    told: Mapping[str, Any],
    chosen: Mapping[str, Any],
) -> tuple[str, ...]:
    """What is to be said of the arguments, besides what they mean."""
    notes = [
        f"argument {name} has no known meaning and keeps its default, {parameters[name].default!r}"
        for name in kept
        if name in parameters and not meaning(name)
    ]
    for name, role in roles.items():
        known = argument_role(name) or is_context_width(name)
        if role and name in parameters and not known:
            notes.append(f"argument {name} is taken for {role}")
        path = found.paths.get(name, (name,))
        if role and name not in chosen and standin.chosen(told, path) is not standin.ABSENT:
            notes.append(f"{name} is {role}, which the examples vary: the value given is not used")
    notes += [f"{name} is given {value!r}, as asked for" for name, value in chosen.items()]
    for name, same in found.switches.items():
        tried = "True gives the same" if same else "True is taken as well"
        notes.append(f"argument {name} has no known meaning and is given False; {tried}")
    return tuple(notes)


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


def role_named(name: str, target: Any) -> str | None:
    """What a name stands for in a constructor of this class."""
    if is_context_width(name) and calls.takes_context(target):
        return "d_context"
    return "context_length" if is_block(name, target) else argument_role(name)


def role_in_settings(name: str | int, target: Any) -> str | None:
    """What a name stands for in an object of settings: d_kv is there as wide as a head, as in T5.

    The place in a list stands for nothing.
    """
    if not isinstance(name, str):
        return None
    return "head_dim" if name == "d_kv" else role_named(name, target)


def role_of(parameter: Parameter, target: Any) -> str | None:
    """The role of one parameter; a needed one that has none may have one as such, or be misspelt."""
    name, optional = parameter.name, parameter.default is not Parameter.empty
    role = role_named(name, target)
    if role == "causal" and optional and not isinstance(parameter.default, bool):
        return None  # a mask, not a switch
    if name == "scale" and isinstance(parameter.default, bool):
        return "scaled"  # a switch, not a number
    if role or optional:
        return role
    return required_role(name) or handed_layers.layer_role(parameter)


def unknown(
    owner: str, target: Any, found: Understood, candidates: Mapping[str, list[str]]
) -> QuestionError:
    """The refusal of a constructor that needs what nobody knows."""
    name = found.unknown[0]
    last = configs.named(found.paths[name])[-1]
    what = f"requires the argument {name!r}"
    if found.paths[name][1:]:
        what = f"reads {name}"
    return messages.refusal(
        f"{owner} {what}, which has no known meaning.",
        f"arguments named like those of the sources: {known()}",
        f"say what it is by --with '{last}=VALUE' (in Python: given={{{last!r}: VALUE}}), or name a "
        f"factory function that fills it in, or an adapter, in place of {owner}:",
        messages.way_out(
            owner,
            target,
            configs.advised(
                found.holders,
                found.paths,
                {name: role for role, names in candidates.items() for name in names},
                found.unknown,
            ),
        ),
    )


def untold(told: Arguments, target: Any, failure: str) -> QuestionError:
    """The refusal of a class that runs nowhere, told False for what nobody knows."""
    paths = (told.paths.get(name, (name,)) for name in told.untold)
    names = list(dict.fromkeys(configs.named(path)[-1] for path in paths))
    values = " ".join(f"{name}=VALUE" for name in names)
    given = ", ".join(f"{name!r}: VALUE" for name in names)
    return messages.refusal(
        f"{told.owner} requires {messages.listed(told.untold)}, of no known meaning; told False, forward "
        f"{failure}.",
        f"arguments named like those of the sources: {known()}",
        f"say what it is by --with '{values}' (in Python: given={{{given}}}), or name a factory function "
        f"that fills it in, or an adapter, in place of {told.owner}:",
        messages.way_out(
            told.owner,
            target,
            configs.advised(told.holders, told.paths, told.carrying, told.untold),
        ),
    )


def known() -> str:
    """The roles with some of their spellings."""
    unsaid = {
        "value_dim",
        "query_dim",
        "divisor",
        "rotary_dim",
        "kv_heads",
        "causal",
        "max_batch",
        "layer",
        *FIXED,
    }
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


def understand_widths(arguments: Arguments, target: Any) -> Arguments:
    """Say which width is meant by a size that may be d_in, d_out or both.

    embed_dim beside d_in is d_out, beside d_out it is d_in; a d_in alone is the width of both. A query_dim
    beside a width of contexts, of a head, or of a head and the output is that of tokens. Three widths, of
    queries, keys and values,
    beside a number of heads alone, are those of the tokens, of a context and of all heads together.
    """
    has = arguments.has
    three = all(map(has, ("query_dim", "head_dim", "value_dim", "num_heads")))
    if three and not has("d_in", "d_out", "embed", "d_context"):
        for role, meant in (
            ("query_dim", "d_in"),
            ("head_dim", "d_context"),
            ("value_dim", "d_out"),
        ):
            arguments = arguments.rename(role, meant)
        return arguments
    beside = not has("value_dim") or has("d_out")
    wide = has("d_context") or (has("head_dim") and beside)
    if wide and has("query_dim") and not has("d_in", "embed"):
        arguments = arguments.rename("query_dim", "embed")
    has = arguments.has
    if not has("head_dim"):
        for role in ("value_dim", "query_dim"):
            if has(role):
                arguments = arguments.rename(role, "head_dim")
                break
    if has("embed") and has("d_in") and has("d_out"):
        names = [arguments.roles[role] for role in ("d_in", "d_out", "embed")]
        meant = "the width of the input or of the output"
        raise ambiguous(arguments.owner, meant, names, target)
    if has("embed") and has("d_in"):
        return arguments.rename("embed", "d_out")
    if has("embed") and has("d_out"):
        return arguments.rename("embed", "d_in")
    if has("d_in") and not has("d_out", "head_dim"):
        return arguments.rename("d_in", "embed")
    if has("d_out") and not has("d_in"):
        return arguments.rename("d_out", "embed")
    return arguments
