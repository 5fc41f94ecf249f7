"""The text of a script: a head that says what is wrong, modules, calls, and an assertion."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import Any

import numpy as np
import torch

from properties.findings.recording import Build, Call
from properties.findings.scripts import construction, text
from properties.findings.scripts.definition import DEFINITION
from properties.recognition import targets
from properties.subjects.instance import CASTS
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights

NUMBERED = ("module", "x", "output")

HELPERS = {
    "tensor": """
def tensor(numbers):
    return torch.tensor(numbers, dtype=torch.float64)
""",
    "near": '''
def near(output, expected, allowed):
    """Every number of the output is the expected one, up to what rounding may change."""
    assert isinstance(output, torch.Tensor), f"expected a tensor, got {type(output).__name__}"
    shapes = tuple(output.shape), tuple(expected.shape)
    assert shapes[0] == shapes[1], f"expected an output of shape {shapes[1]}, got {shapes[0]}"
    output = output.detach().to(torch.float64)
    same = (output == expected) | (output.isnan() & expected.isnan())
    off = torch.where(same, 0.0, (output - expected).abs())
    allowed = torch.as_tensor(allowed, dtype=torch.float64).expand(expected.shape)
    for at in (~(off <= allowed) & allowed.isfinite()).nonzero().tolist():
        wanted, got, slack = (float(part[tuple(at)]) for part in (expected, output, allowed))
        raise AssertionError(f"expected {wanted:.9g} within {slack:.2g}, got {got:.9g} at {at}")
''',
    "near_one": '''
def near_one(output, rights):
    """The output is one of those that are right, each with what it may be off by."""
    failures = []
    for expected, allowed in rights:
        try:
            return near(output, expected, allowed)
        except AssertionError as error:
            failures.append(error)
    raise failures[0]
''',
    "output_alone": '''
def output_alone(module, inputs, returned):
    """A hook after forward: the first of several things that it returns, which is its output."""
    if isinstance(returned, torch.Tensor):
        return returned
    if not isinstance(returned, (tuple, list)):
        returned = returned.values() if hasattr(returned, "values") else vars(returned).values()
    return next(iter(returned))
''',
} | DEFINITION
"""Functions of a script, put in where they are used."""


@dataclass
class Script:
    """A script as it is written, statement by statement.

    outputs: the names of the outputs of the calls that were written; modules: of the modules;
    strided: whether the inputs lie in memory as they did, or simply in order; alone: whether a module
    that returns several things gives its output alone.
    """

    subject: Subject
    strided: bool = False
    lines: list[str] = field(default_factory=list)
    modules: dict[int, str] = field(default_factory=dict)
    outputs: dict[int, str] = field(default_factory=dict)
    alone: bool = True

    def add(self, *lines: str) -> None:
        """Statements, after an empty line."""
        self.lines += ["", *lines]

    def build(self, build: Build) -> str:
        """A module as it was built; the name it has in the script."""
        name = f"module_{len(self.modules) + 1}"
        self.modules[id(build)] = name
        made = construct(build.subject, build.config, name, build.weights, alone=self.alone)
        off = getattr(build.subject, "residual", ())
        quiet = [f"{name}.get_submodule({path!r}).p = 0.0" for path in off]
        quiet += construction.without_norms(build.subject, name)
        self.add(*made, *quiet, *self.fill(build, name))
        return name

    def fill(self, build: Build, name: str) -> list[str]:
        """The statements that give a module its numbers."""
        if not build.tensors:
            return []
        return ["with torch.no_grad():"] + [
            f"    {name}{build.places[path]}.copy_({text.tensor(array, 4)})"
            for path, array in build.tensors.items()
        ]

    def module(self, build: Build) -> str:
        """The name of a module, which is built if it has none."""
        return self.modules.get(id(build)) or self.build(build)

    def input(self, call: Call, name: str = "") -> str:
        """The input of a call; its name."""
        name = name or f"x_{len(self.outputs) + 1}"
        dtype = call.build.config.dtype
        laid = text.laid_out(call.x, call.layout, dtype) if self.strided else ""
        self.add(f"{name} = {laid or text.typed(call.x, dtype)}")
        return name

    def call(self, call: Call, *, attempt: bool = False) -> str:
        """A call as it was made; the name of its output. attempt: what it raises does not matter."""
        module = self.module(call.build)
        x = self.input(call)
        name = self.outputs[id(call)] = f"output_{len(self.outputs) + 1}"
        self.lines += [*mode(call, module)]
        if attempt:
            self.lines += ["with torch.no_grad(), suppress(Exception):", f"    {module}({x})"]
        elif call.differentiable:
            self.lines += [f"{name} = {module}({x}.requires_grad_())"]
        else:
            self.lines += ["with torch.no_grad():", f"    {name} = {module}({x})"]
        return name

    @property
    def needs(self) -> str:
        """What the file needs, in words."""
        if construction.program_of(self.subject) is not None:
            return "the program, torch, NumPy and properties"
        return "torch and the class alone"

    @property
    def body(self) -> str:
        """Everything after the import of the class."""
        lines = "\n".join(self.lines).strip("\n")
        for word in NUMBERED:
            if f"{word}_2" not in lines:
                lines = re.sub(rf"\b{word}_1\b", word, lines)
        return lines + '\nprint("holds")\n'

    def written(self, head: str) -> str:
        """The whole file. The only line that names the class is the one that imports it."""
        body, before = self.body, self.prelude()
        helpers = [HELPERS[name].strip("\n") for name in needed(body)]
        wanted = construction.imports(self.subject)
        modules = [
            name for name in ("base64", "copy", "pickle", "re", "zlib") if f"{name}." in body
        ]
        modules += ["sys"] if any("sys." in line for line in [*wanted, body]) else []
        numpy = ["import numpy as np"] * any("np." in part for part in (body, *helpers))
        names = [name for name in ("inf", "nan") if re.search(rf"\b{name}\b", body)]
        imports = [f"import {name}" for name in sorted(modules)]
        imports += ["from contextlib import suppress"] if "suppress(" in body else []
        imports += [f"from math import {', '.join(names)}"] if names else []
        top = [
            head,
            "",
            "from __future__ import annotations",
            "",
            *imports,
            *([""] * bool(imports)),
        ]
        top += [*numpy, "import torch", "", *wanted, *before]
        return "\n".join(top) + "\n\n\n" + "\n\n\n".join([*helpers, body])

    def prelude(self) -> list[str]:
        """What the suite puts around the class or function."""
        return construction.prelude(self.subject)

    def run(self, target: Any = None) -> None:
        """Execute it here, on the subject or on another class; raises what the script raises."""
        program = construction.program_of(self.subject)
        if target is None and program is not None:
            target = program if program.hello.module is None else program.module
        if target is None:
            source, name = targets.split(self.subject.name)
            target = targets.lookup(targets.load(source), source, name)
        lines = self.written("").splitlines()
        named = construction.bindings(self.subject)
        kept = [line for line in lines if line not in named]
        space = {"__name__": "__main__", construction.ALIAS: target}
        with construction.undisturbed(self.subject):
            exec(compile("\n".join(kept), "<script>", "exec"), space)

    def fails(self) -> bool:
        """Whether the script's assertion is broken by the subject here and now."""
        silent = redirect_stdout(StringIO()), redirect_stderr(StringIO())
        with torch.random.fork_rng(devices=[]), silent[0], silent[1]:
            try:
                self.run()
            except AssertionError:
                return True
            except (Exception, SystemExit):  # the subject's, where the script does not ask for it
                return False
        return False


def needed(body: str) -> list[str]:
    """The functions that the lines call, and those that these call, in the order of HELPERS."""
    found = [name for name in HELPERS if calls(body, name)]
    lines = "\n".join((body, *(HELPERS[name] for name in found)))
    return [name for name in HELPERS if calls(lines, name)]


def calls(lines: str, name: str) -> bool:
    """Whether the lines call a function of this name, or hand it over alone."""
    return re.search(rf"\b{name}\(|\({name}\)", lines) is not None


def construct(
    subject: Subject,
    config: Config,
    name: str = "module",
    weights: Weights | None = None,
    *,
    alone: bool = True,
) -> list[str]:
    """The statements that make a module for a request; alone: see `Script`."""
    lines = construction.preparation(subject, config)
    lines += [f"{name} = {construction.expression(subject, config, weights)}"]
    if alone and construction.returns_several(subject):
        inner = f"{name}.inner" if construction.wrapper(subject) else name
        lines.append(f"{inner}.register_forward_hook(output_alone)")
    return lines if config.dtype == "float32" else [*lines, moved(subject, name, config.dtype)]


def moved(subject: Subject, name: str, dtype: str) -> str:
    """The statement that moves a module to a format: see `in_format`."""
    if getattr(subject, "complex_numbers", ()):
        return f"{name}.{CASTS[getattr(torch, dtype)]}()"
    return f"{name}.to(torch.{dtype})"


def mode(call: Call, module: str) -> list[str]:
    """The module's mode and, where chance plays a part, the seed."""
    seeds = [f"torch.manual_seed({call.seed})"] if call.training and call.seed is not None else []
    return [f"{module}.{'train' if call.training else 'eval'}()", *seeds]


def merged(calls: Iterable[Call]) -> list[Call]:
    """The calls, on one module as far as they are made on equal ones."""
    kept: list[Build] = []
    result = []
    for call in calls:
        twin = next((build for build in kept if equal(build, call.build)), call.build)
        kept.append(twin)
        result.append(replace(call, build=twin))
    return result


def equal(one: Build, other: Build) -> bool:
    """Whether two modules were built alike."""
    a, b = (build.config for build in (one, other))
    sizes = replace(a.sizes, batch=b.sizes.batch, tokens=b.sizes.tokens)
    if replace(a, sizes=sizes) != b or one.tensors.keys() != other.tensors.keys():
        return False
    return all(np.array_equal(array, other.tensors[name]) for name, array in one.tensors.items())
