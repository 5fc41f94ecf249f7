"""The words of a refusal: what was wrong, what was expected, and the way out."""

from __future__ import annotations

import inspect
import sys
import textwrap
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

from properties.basics.cells import located
from properties.basics.errors import QuestionError
from properties.recognition.adapters.spellings import argument_role, is_context_width
from properties.recognition.foreign.classes import kinds

OURS = str(Path(__file__).resolve().parents[1])

FACTORY = """{imports}
def make({parameters}):{hint}
    return {call}{blank}
"""

ADAPTER = """{imports}
import properties, torch

class Mine(properties.Subject):
    family = "{family}"  # one of plain, self, causal, wrapper, multihead, encoder
    capabilities = frozenset({{"projections", "out-projection", "out-bias", "batched", "module"}})

    def build(self, config, weights):
        sizes = config.sizes  # d_in, heads, head_dim, context_length
        module = {call}{blank}
        module.to(getattr(torch, config.dtype))
        # In place of QUERY, KEY, VALUE, OUT the names of its layers.
        layers = {{"query": module.QUERY, "key": module.KEY, "value": module.VALUE, "out": module.OUT}}
        with torch.no_grad():  # ours are (in, out) in NumPy; nn.Linear keeps (out, in)
            for role, layer in layers.items() if weights else ():
                layer.weight.copy_(torch.from_numpy(getattr(weights, role).T))
                bias = getattr(weights, role + "_bias")
                if layer.bias is not None:
                    layer.bias.copy_(torch.from_numpy(bias) if bias is not None else layer.bias * 0)
        return module  # called with x (B, T, d_in), it returns (B, T, config.width)
"""

FOREIGN = """
# of a module of {library}: properties.recognition.foreign.modules.ForeignSubject, as docs/adapters.md shows
"""

ARRAYS = """
import numpy, torch

def f(query, key, value):  # torch tensors (B, H, T, D)
    context = {name}(*(part.detach().numpy() for part in (query, key, value)))
    return torch.from_numpy(numpy.array(context))
"""

ARRAY = """
import numpy, torch

def f(x):  # a torch tensor
    return torch.from_numpy(numpy.array({name}(x.detach().numpy())))
"""

HOLDER = """{imports}
import torch

class MyAttention(torch.nn.Module):
    def __init__({own}):{hint}
        super().__init__()
        self.inner = {call}{blank}

    def forward(self, x):  # (B, T, d_in)
"""

SHELL = f"{HOLDER}        return self.inner({{given}}){{unmade}}\n"

ROWS = f"""{HOLDER}        tokens = {{tokens}}
        rows = [self.inner({{query}}=row, {{key}}=tokens, {{value}}=tokens) for row in x.unbind(1)]
        return torch.stack(rows, dim=1)
"""

FUNCTION = """
def f({parameters}):
    return {name}({given}){blank}
"""

# What a factory calls an argument for a role, and what an adapter has for it.
NAMES = {
    "d_in": ("d_in", "sizes.d_in"),
    "d_out": ("d_out", "config.width"),
    "embed": ("d_model", "config.width"),
    "head_dim": ("head_dim", "sizes.head_dim"),
    "rotary_dim": ("head_dim", "sizes.head_dim"),
    "num_heads": ("num_heads", "sizes.heads"),
    "kv_heads": ("num_heads", "sizes.heads"),
    "context_length": ("context_length", "sizes.context_length"),
    "dropout": ("dropout", "config.dropout"),
    "qkv_bias": ("qkv_bias", "config.bias"),
    "causal": ("True", "True"),
    "output_dropout": ("0.0", "0.0"),
    "device": ("'cpu'", "'cpu'"),
    "batch_first": ("True", "True"),
    "layer": ("0", "0"),
}


HOLDING = """
import torch

class Attention(torch.nn.Module):
    def __init__(self, d_model, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.wq, self.wk, self.wv, self.wo = (
            torch.nn.Linear(d_model, d_model, bias=False) for _ in range(4)
        )

    def forward(self, x):
        held = {{name: layer.weight.T for name, layer in self.named_children()}}  # by its own names
        return {name}({given}){blank}
"""
"""A module that holds what a function of x takes beside it."""


def holding(name: str, tokens: str, others: Mapping[str, str]) -> str:
    """Such a module; others: the further arguments, each with its role, "" for none."""
    told = {"num_heads": "self.num_heads", "kv_heads": "self.num_heads", "": "held"}
    given = {tokens: "x"} | {n: told.get(role, "...") for n, role in others.items()}
    blank = [n for n, value in given.items() if value == "..."]
    return HOLDING.format(
        name=name.rpartition(":")[2].rpartition(".")[2],
        given=", ".join(f"{n}={value}" for n, value in given.items()),
        blank=f"  # fill in {listed(blank)}" if blank else "",
    )


def refusal(wrong: str, expected: str, way_out: str, example: str = "") -> QuestionError:
    """The error to raise: three sentences and, where code says it better, an example."""
    lines = [wrong, f"Expected: {expected}", f"What to do: {way_out}"]
    if example:
        lines.append(textwrap.indent(textwrap.dedent(example).strip("\n"), "    "))
    return QuestionError("\n".join(lines))


@dataclass(frozen=True)
class Setting:
    """An argument that holds settings, in advice.

    texts: how it is made in a factory and in an adapter; roles: what it is told; blank: what nobody
    knows in it.
    """

    texts: tuple[str, ...]
    roles: tuple[str, ...]
    blank: tuple[str, ...] = ()


Settings = Mapping[str, Setting]  # by argument
NO_SETTINGS: Settings = MappingProxyType({})


def way_out(name: str, target: Any = None, settings: Settings = NO_SETTINGS) -> str:
    """The two ways to make a class a subject, as code."""
    made = factory(name, target, settings), adapter(name, target, settings)
    return "{}\n# or an adapter:{}".format(*made)


def factory(name: str, target: Any = None, settings: Settings = NO_SETTINGS) -> str:
    """A factory that hands over what a class takes; what nobody knows is left to be filled in."""
    return FACTORY.format(**handed(target, settings), **calling(name, target, 0, settings))


def adapter(
    name: str, target: Any = None, settings: Settings = NO_SETTINGS, family: str = "multihead"
) -> str:
    """An adapter that does, and that loads the weights; family: one with an output projection."""
    if library := library_of(target):
        return FOREIGN.format(library=library)
    return ADAPTER.format(**calling(name, target, 1, settings), family=family)


def library_of(target: Any) -> str:
    """The library, other than torch, whose modules a class makes or stands for; "" for none."""
    if original := getattr(target, "original", None):
        return str(original.kind.name)
    kind = kinds.kind_of(target) if inspect.isclass(target) else None
    return kind.name if kind else ""


def shell(
    name: str,
    target: Any,
    given: str,
    settings: Settings = NO_SETTINGS,
    unknown: Iterable[str] = (),
) -> str:
    """A module that makes what forward wants besides x; unknown: the inputs that nobody can make."""
    unmade = f"  # fill in {listed(unknown)}" if unknown else ""
    made = handed(target, settings) | {"given": given, "unmade": unmade}
    return SHELL.format(**made, **calling(name, target, 0, settings))


def rows(
    name: str, target: Any, names: Iterable[str], tokens: str, settings: Settings = NO_SETTINGS
) -> str:
    """A module that hands over one query at a time; names: the arguments for queries, keys and values;
    tokens: what the latter two are given.
    """
    named = dict(zip(("query", "key", "value"), names, strict=True))
    made = handed(target, settings) | named | {"tokens": tokens}
    return ROWS.format(**made, **calling(name, target, 0, settings))


def function(name: str, required: Iterable[str], causal: str, dropout: str) -> str:
    """A function of queries, keys and values that hands over what another one requires besides."""
    known = {causal: "is_causal", dropout: "dropout_p"}
    given = {argument: known.get(argument, "...") for argument in required}
    unknown = [argument for argument, value in given.items() if value == "..."]
    handed = ("query", "key", "value", *(f"{n}={value}" for n, value in given.items()))
    taken = ["query", "key", "value", *(v for v in given.values() if v != "...")]
    return FUNCTION.format(
        parameters=", ".join(taken),
        name=name.rpartition(":")[2].rpartition(".")[2],
        given=", ".join(handed),
        blank=f"  # fill in {listed(unknown)}",
    )


def function_of(name: str, required: Iterable[str]) -> str:
    """A function of queries, keys and values that makes what another one requires of them."""
    required = list(required)
    return FUNCTION.format(
        parameters="query, key, value",
        name=name,
        given=", ".join(f"{one}=..." for one in required),
        blank=f"  # fill in {listed(required)}",
    )


def roles(target: Any) -> dict[str, str]:
    """The roles of the arguments that a class takes, "" for one that it requires and nobody knows. The
    width of queries beside that of a context is that of tokens, as both may be.
    """
    try:
        named = inspect.signature(target).parameters.values() if callable(target) else ()
    except (TypeError, ValueError):
        return {}
    closed = [p for p in named if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    found = {p.name: argument_role(p.name) or "" for p in closed}
    if "query_dim" in found.values() and not {"d_in", "embed"} & set(found.values()):
        wide = [n for n, role in found.items() if role == "query_dim" or is_context_width(n)]
        found |= dict.fromkeys(wide, "embed")
    open_ = {"embed"} if {"d_in", "d_out", "embed"} <= set(found.values()) else set()
    told = NAMES.keys() - open_  # beside d_in and d_out, nobody knows what a third width is
    found = {name: role if role in told else "" for name, role in found.items()}
    return {p.name: found[p.name] for p in closed if found[p.name] or p.default is p.empty}


def handed(target: Any, settings: Settings) -> dict[str, str]:
    """What a factory for a class takes; everything where nothing is known, and then a hint."""
    taken = [role for setting in settings.values() for role in setting.roles]
    taken += [role for name, role in roles(target).items() if role and name not in settings]
    names = dict.fromkeys(NAMES[role][0] for role in taken if role in NAMES)
    known = [name for name in names if name.isidentifier() and name != "True"]
    told = bool(taken) or takes_nothing(target)
    everything = ["d_in", "d_out", "context_length", "dropout", "num_heads"]
    given = known or ([] if told and not taken else everything)
    return {
        "parameters": ", ".join(given),
        "own": ", ".join(["self", *given]),
        "hint": "" if told else "  # leave out what it has no place for",
    }


def takes_nothing(target: Any) -> bool:
    """Whether a class says that it is made without arguments."""
    try:
        return callable(target) and not inspect.signature(target).parameters
    except (TypeError, ValueError):
        return False


def calling(name: str, target: Any, column: int, settings: Settings) -> dict[str, str]:
    """The call that makes a module, what it needs to be imported, and what is to be filled in."""
    taken = roles(target)
    given = {n: NAMES[role][column] if role else "..." for n, role in taken.items()}
    given |= {n: setting.texts[column] for n, setting in settings.items()}
    told = bool(given) or takes_nothing(target)
    blank = [n for n, value in given.items() if value == "..."] if told else ["its arguments"]
    blank += [n for setting in settings.values() for n in setting.blank]
    inside = ", ".join(f"{n}={value}" for n, value in given.items()) if told else "..."
    return {
        "call": f"{name}({inside})",
        "blank": f"  # fill in {listed(dict.fromkeys(blank))}" if blank else "",
        "imports": "\nfrom types import SimpleNamespace\n" if "SimpleNamespace(" in inside else "",
    }


def described(error: BaseException) -> str:
    """Type and text of an exception, and where in the user's own code it was raised."""
    text = str(error.msg) if isinstance(error, SyntaxError) else str(error)
    text = " ".join(text.split())[:300]
    place = where(error)
    return f"{type(error).__name__}{': ' + text if text else ''}{f' ({place})' if place else ''}"


def where(error: BaseException) -> str:
    """`file:line` of the last frame that is neither this suite's nor a library's, or ''."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [pair for pair in frames if not is_foreign(pair[0])]
    return place(*own[-1]) if own else ""


def is_foreign(frame: FrameType) -> bool:
    """Whether the frame belongs to this suite, the standard library or an installed package."""
    name = frame.f_code.co_filename
    home = (f"{OURS}/adapters", f"{OURS}/targets", "<frozen", f"{sys.base_prefix}/lib")
    return name.startswith(home) or "site-packages" in name or "dist-packages" in name


def place(frame: FrameType, line: int) -> str:
    """`file:line`, or for the cells of a notebook `file, cell n, line m`."""
    return located(Path(frame.f_code.co_filename.strip("<>")).name, frame, line)


def brief(error: BaseException) -> str:
    """Type and text of an exception, in a line."""
    text = str(error)
    if isinstance(error, SyntaxError):
        text = f"{error.msg}, line {error.lineno}"
    return f"{type(error).__name__}: {' '.join(text.split())[:200]}"


def did_you_mean(near: list[str]) -> str:
    """'; did you mean ...?' or nothing."""
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def listed(names: Iterable[str], none: str = "none") -> str:
    """The names separated by commas, or a word for none."""
    return ", ".join(names) or none
