"""How a script of one's own imports a subject's class and builds a module of it."""

from __future__ import annotations

import ast
import inspect
import keyword
import linecache
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch.nn import Module

from properties.cases.case import parameters
from properties.findings.scripts import text
from properties.recognition import targets
from properties.recognition.adapters import (
    calls,
    function_shell,
    plain_function,
    qkv_function,
    torch_multihead,
)
from properties.recognition.adapters.documents import AsDocuments, as_documents
from properties.recognition.adapters.given_masks import GivenMasks, with_masks
from properties.recognition.adapters.given_values import GivenValues, with_values
from properties.recognition.adapters.given_zeros import GivenZeros, with_zeros
from properties.recognition.adapters.held_matrices import Calling, HoldingMatrices
from properties.recognition.adapters.held_open import HeldOpen, held_open
from properties.recognition.adapters.image import AsImage, as_image
from properties.recognition.adapters.latents import Rolled, RolledBack, with_latents
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.adapters.output_first import OutputFirst, output_first
from properties.recognition.adapters.residual import (
    WithoutResidual,
    exchanged,
    without_residual,
)
from properties.recognition.adapters.two_inputs import InOrder, in_order
from properties.recognition.asking.of_a_dict import OfADict
from properties.recognition.asking.on_itself import OnItself, leading
from properties.recognition.process.function import Process
from properties.subjects.subject import CAUSAL_FAMILIES, JOINED_FAMILIES, Config, Subject
from properties.truth.parameters import Weights

HOOKED = [
    "import inspect",
    "from dataclasses import dataclass, field",
    "from inspect import Parameter",
    "from typing import Any",
    "import torch",
    "from torch import Tensor, nn",
]
"""What the sources of `hooks` import."""
IMPORTS = ["from collections.abc import Callable", "from typing import Any"]
ALIAS = "Attention"  # what the class is called in a script, whatever its name


def imports(subject: Subject) -> list[str]:
    """The lines after which the class is called `Attention`."""
    if (program := program_of(subject)) is not None:
        made = f"{ALIAS} = Process({program.command!r}, {program.folder!r})"
        made += ".module" * (program.hello.module is not None)
        return ["from properties import Process", "", made]
    source, name = targets.split(subject.name)
    first = name.partition(".")[0]
    alias = [f"{ALIAS} = {name}"] if "." in name else []
    if in_pieces(source):
        return [*definitions(targets.load(source), first), "", f"{ALIAS} = {name}"]
    rename = "" if alias else f" as {ALIAS}"
    if not source.endswith(".py"):
        return [*folder(source), f"from {source} import {first}{rename}", *alias]
    path = Path(source).resolve()
    if importable(path.stem):
        return [*on_path(path.parent), f"from {path.stem} import {first}{rename}", *alias]
    return [
        "import importlib.util",
        f"spec = importlib.util.spec_from_file_location('subject', {str(path)!r})",
        "source = importlib.util.module_from_spec(spec)",
        "sys.modules['subject'] = source",
        *on_path(path.parent),
        "spec.loader.exec_module(source)",
        f"{ALIAS} = source.{name}",
    ]


def program_of(subject: Subject) -> Process | None:
    """The program that the subject is; None for all that is Python's."""
    found = None
    if isinstance(subject, ModuleSubject):
        found = getattr(subject.blueprint.target, "process", None)
    elif isinstance(subject, qkv_function.FunctionSubject):
        *_, found = function_shell.ways(subject.function.call)
    return found if isinstance(found, Process) else None


def bindings(subject: Subject) -> list[str]:
    """Those of these lines that find the class; definitions by themselves only name it."""
    lines = imports(subject)
    if program_of(subject) is not None:
        return [line for line in lines if line]
    in_place = in_pieces(targets.split(subject.name)[0])
    return lines[-1:] if in_place else [line for line in lines if line]


def in_pieces(source: str) -> bool:
    """Whether definitions are taken out of a notebook, or a file that fails where it is imported."""
    if source.endswith(".py"):
        return bool(vars(targets.load(source)).get("__failures__"))
    return source.endswith(".ipynb")


def importable(name: str) -> bool:
    """Whether an import statement can name it, and finds no other module by it."""
    return (
        name.isidentifier() and not keyword.iskeyword(name) and name not in sys.stdlib_module_names
    )


def on_path(folder: Path) -> list[str]:
    """Make what lies in a folder importable."""
    return [f"sys.path.insert(0, {str(folder)!r})"]


def folder(source: str) -> list[str]:
    """Make a module importable that is not installed."""
    top = sys.modules.get(source.partition(".")[0])
    file = getattr(top, "__file__", None)
    if file is None or "site-packages" in file or "dist-packages" in file:
        return []
    path = Path(file).resolve()
    root = path.parent.parent if hasattr(top, "__path__") else path.parent
    return [] if root == Path(inspect.__file__).parent else on_path(root)


def definitions(module: ModuleType, name: str) -> list[str]:
    """The imports and definitions of a notebook that the class `name` needs, in order."""
    source = "".join(linecache.getlines(str(module.__file__)))
    nodes = [node for node in ast.parse(source).body if bound(node)]
    needed, pending = {name}, [name]
    while pending:
        current = pending.pop()
        for node in nodes:
            if current in bound(node):
                used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                pending += used - needed
                needed |= used
    kept = [node for node in nodes if needed & set(bound(node))]
    return [segment(source, node) for node in kept]


def segment(source: str, node: ast.stmt) -> str:
    """The lines of a definition, its decorators among them."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(source.splitlines()[first - 1 : node.end_lineno])


def bound(node: ast.stmt) -> list[str]:
    """The names that an import or a definition binds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return []


def prelude(subject: Subject) -> list[str]:
    """What the suite puts around the class or function, as source; nothing for most."""
    if own(subject):
        return ["from properties import Config, Sizes, Weights"]
    if isinstance(subject, ModuleSubject) and not subject.tokens:
        lines = ["from types import SimpleNamespace"] * bool(subject.blueprint.arguments.holders)
        made = hooks(subject)
        lines = imported(lines, HOOKED) if made else lines
        made += holding_matrices(subject)
        return [*lines, *made, *(own_context() if subject.own_context else [])]
    kind = wrapper(subject)
    if kind is None:
        return []
    lines = [*kinds(subject), *IMPORTS, "", "from torch import Tensor, nn"]
    held = isinstance(subject, ModuleSubject) and bool(subject.blueprint.arguments.holders)
    if held:
        lines.insert(0, "from types import SimpleNamespace")
    if kind is function_shell.Shell:
        lines.insert(0, "from types import SimpleNamespace")
        lines += ["", f"CAUSAL_FAMILIES = {set(CAUSAL_FAMILIES)!r}"]
        lines += [f"JOINED_FAMILIES = {set(JOINED_FAMILIES)!r}"]
    sources = [inspect.getsource(kind).rstrip()]
    if kind is OnItself:
        lines.insert(0, "import inspect")
        sources.append(inspect.getsource(leading).rstrip())
    made = hooks(subject) if isinstance(subject, ModuleSubject) else []
    return [
        *(imported(lines, HOOKED) if made else lines),
        *made,
        *(line for one in sources for line in ("", "", one)),
        *around(subject),
        *(holding_matrices(subject) if isinstance(subject, ModuleSubject) else []),
    ]


def packing(subject: Subject) -> list[str]:
    """What packs the documents of a function that wants them so, or splits heads that it merges, as source;
    nothing for others.
    """
    source = around(subject)
    lines = [*kinds(subject), *IMPORTS]
    return [*lines, "", "from torch import Tensor", *source] if source else []


def around(subject: Subject) -> list[str]:
    """The same without what it imports."""
    lines: list[str] = []
    for one in standing_around(subject):
        lines += ["", "", inspect.getsource(type(one)).rstrip()]
    return lines


def kinds(subject: Subject) -> list[str]:
    """What is imported for the classes of these."""
    kept = any(is_dataclass(one) for one in standing_around(subject))
    return ["from dataclasses import dataclass, field"] * kept


def standing_around(subject: Subject) -> list[Any]:
    """What a function is called through, from outside; nothing for any other subject."""
    if not isinstance(subject, qkv_function.FunctionSubject):
        return []
    return list(function_shell.ways(subject.function.call))[:-1]


def called(subject: Subject) -> str:
    """What is called for a function of queries, keys and values."""
    text = ALIAS
    for one in reversed(standing_around(subject)):
        _, *names = inspect.signature(type(one)).parameters  # kept under these names
        kept = [getattr(one, name) for name in names]
        told = [repr(tuple(part) if isinstance(part, tuple) else part) for part in kept]
        text = f"{type(one).__name__}({', '.join([text, *told])})"
    return text


def holding_matrices(subject: ModuleSubject) -> list[str]:
    """What makes modules of a function of x and matrices; it has the name of the class from then on."""
    factory = subject.blueprint.target
    if not isinstance(factory, HoldingMatrices):
        return []
    told = [factory.tokens, factory.held, factory.parts, factory.rows, factory.numbers]
    kinds, function = [Calling, HoldingMatrices], ALIAS
    if isinstance(factory.function, OfADict):
        kinds = [OfADict, *kinds]
        function = f"OfADict({ALIAS}, {factory.function.name!r}, {factory.function.keys!r})"
    sources = (inspect.getsource(one).rstrip() for one in kinds)
    named = f"{ALIAS} = HoldingMatrices({', '.join([function, *map(repr, told)])})"
    imports = ["from inspect import Parameter, Signature, signature", "from torch import nn"]
    return [*imports, *(line for one in sources for line in ("", "", one)), "", "", named]


def own_context() -> list[str]:
    """What hands x to a module that requires a context."""
    sources = (inspect.getsource(one) for one in (calls.OwnContext, calls.given_itself))
    lines = [
        "from dataclasses import dataclass",
        "from typing import Any",
        "",
        "from torch import nn",
    ]
    return lines + [line for one in sources for line in ("", "", one.rstrip())]


def hooks(subject: ModuleSubject) -> list[str]:
    """What hands a module its inputs in its own order, the masks, zeros or values that it requires,
    documents or an image, takes its residual out, holds its gates open, rolls its latents, and puts its
    output first.
    """
    told = subject.blueprint
    parts: list[Callable[..., Any]] = [InOrder, in_order] if told.inputs else []
    parts += [GivenValues, with_values] if told.values else []
    parts += [GivenMasks, with_masks] if told.masks else []
    parts += [GivenZeros, with_zeros] if told.zeros else []
    parts += [WithoutResidual, exchanged, without_residual] if told.residual else []
    parts += [HeldOpen, held_open] if told.gates else []
    parts += [Rolled, RolledBack, with_latents] if told.latents else []
    parts += [AsDocuments, as_documents] if told.documents else []
    parts += [AsImage, as_image] if told.image else []
    parts += [OutputFirst, output_first] if told.output else []
    sources = (inspect.getsource(one).rstrip() for one in parts)
    return [line for one in sources for line in ("", "", one)]


def imported(*groups: list[str]) -> list[str]:
    """Import statements, each once, torch's after the others."""
    lines = {line for group in groups for line in group if line}
    every = sorted(lines, key=lambda line: (line.startswith("from"), line))
    own = [line for line in every if "torch" in line]
    return [*(line for line in every if line not in own), "", *own]


def of_documents(subject: Subject) -> tuple[str, ...]:
    """The arguments of a function by which documents that are packed are told."""
    return subject.function.packed if isinstance(subject, qkv_function.FunctionSubject) else ()


def own(subject: Subject) -> bool:
    """Whether the subject is an adapter of the user's own."""
    ours = (ModuleSubject, torch_multihead.TorchMultihead, *WRAPPERS)
    return not isinstance(subject, ours)


WRAPPERS = {
    torch_multihead.TorchMultihead: torch_multihead.CausalMultihead,
    qkv_function.FunctionSubject: function_shell.Shell,
    plain_function.PlainSubject: plain_function.PlainShell,
}


def wrapper(subject: Subject) -> type | None:
    """The class of ours that makes a module of what is no module of x by itself."""
    if isinstance(subject, ModuleSubject) and subject.tokens:
        return OnItself
    return WRAPPERS.get(type(subject))


def expression(subject: Subject, config: Config, weights: Weights | None = None) -> str:
    """The call that makes a module for this request; only one's own adapter is given weights."""
    match subject:
        case ModuleSubject():
            blueprint = subject.blueprint
            config = replace(config, bias=config.bias or blueprint.biased)
            given = blueprint.arguments.values(config, subject.family)
            held = {
                h.argument: h.spelled(given.pop(h.argument)) for h in blueprint.arguments.holders
            }
            made = call(ALIAS, given, *(f"{name}={text}" for name, text in held.items()))
            if blueprint.inputs:
                queries, keys = blueprint.inputs
                made = f"in_order({made}, {queries!r}, {keys!r})"
            if blueprint.values is not None:
                made = f"with_values({made}, {blueprint.values!r})"
            if blueprint.masks is not None:
                made = f"with_masks({made}, {blueprint.masks!r})"
            if blueprint.zeros is not None:
                zeros = replace(blueprint.zeros, heads=config.sizes.heads)
                made = f"with_zeros({made}, {zeros!r})"
            if blueprint.image:
                made = f"as_image({made}, {blueprint.image!r})"
            if blueprint.residual:
                made = f"without_residual({made}, {blueprint.residual!r})"
            if blueprint.gates:
                made = f"held_open({made}, {blueprint.gates!r})"
            if blueprint.latents:
                made = f"with_latents({made}, {blueprint.latents!r})"
            if blueprint.documents:
                made = f"as_documents({made}, {blueprint.documents!r})"
            if blueprint.output:
                made = f"output_first({made}, {blueprint.output})"
            if subject.tokens:
                told = f"{subject.tokens!r}, {subject.blanks!r}"
                return f"OnItself({made}, {told}, {config.sizes.heads}, {blueprint.axes!r})"
            own = subject.own_context
            return f"given_itself({made}, {own!r})" if own else made
        case torch_multihead.TorchMultihead():
            given = {"dropout": config.dropout, "bias": True, "batch_first": True}
            if other := config.sizes.d_context:
                given |= {"kdim": other, "vdim": other}
            first = str(config.width), str(config.sizes.heads)
            return f"CausalMultihead({call(ALIAS, given, *first)})"
        case plain_function.PlainSubject():
            return f"PlainShell({ALIAS})"
        case qkv_function.FunctionSubject(function=function):
            fields = ("causal", "dropout", "layout", "dropped_by", "part")
            named = {name: getattr(function, name) for name in fields}
            sizes = call(
                "SimpleNamespace", {"d_in": config.sizes.d_in, "heads": config.sizes.heads}
            )
            asked = {"width": config.width, "bias": config.bias, "dropout": config.dropout}
            filled = call("SimpleNamespace", named, f"call={called(subject)}")
            request = call("SimpleNamespace", asked, f"sizes={sizes}")
            return f"Shell({filled}, {request}, {subject.family!r})"
    carried = None if weights is None else call("Weights", {}, *arrays(weights))
    return f"{ALIAS}().build({config!r}, {carried})"


def returns_several(subject: Subject) -> bool:
    """Whether a module returns more than its output."""
    return isinstance(subject, ModuleSubject) and subject.blueprint.several is not None


def preparation(subject: Subject, config: Config) -> list[str]:
    """What sets the names that the class reads from its own module, as a statement; for most nothing."""
    if not isinstance(subject, ModuleSubject):
        return []
    named = subject.blueprint.arguments.surrounding(config, subject.family)
    given = ", ".join(f"{name}={value!r}" for name, value in named.items())
    return [f"vars(sys.modules[{ALIAS}.__module__]).update({given})"] if named else []


def without_norms(subject: Subject, name: str) -> list[str]:
    """What puts an identity in the place of the norms of a module of this name."""
    if not isinstance(subject, ModuleSubject):
        return []
    inner = f"{name}.inner" if subject.tokens else name
    places = (path.rpartition(".") for path in subject.blueprint.taken_out)
    return [
        f"setattr({inner}.get_submodule({parent!r}), {last!r}, torch.nn.Identity())"
        for parent, _, last in places
    ]


def undisturbed(subject: Subject) -> AbstractContextManager[None]:
    """Names of the class's own module that a script sets are afterwards what they were."""
    around = subject.blueprint.arguments.around if isinstance(subject, ModuleSubject) else None
    return nullcontext() if around is None else around.lent({})


def arrays(weights: Weights) -> list[str]:
    """The weights as arguments."""
    return [f"{n}={text.tensor(array)}.numpy()" for n, array in parameters(weights).items()]


def call(name: str, given: Mapping[str, object], *first: str) -> str:
    """A call as it would be typed."""
    prefix = {key: "torch.nn." if isinstance(value, Module) else "" for key, value in given.items()}
    named = (f"{key}={prefix[key]}{value!r}" for key, value in given.items())
    return f"{name}({', '.join((*first, *named))})"
