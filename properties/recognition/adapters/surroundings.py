"""Settings that a class reads from its own module, as the classes of lectures do: n_embd, block_size.

They are found in the code of the class and of what it calls there, set while a module is built and
run, and afterwards what they were before.
"""

from __future__ import annotations

import builtins
import dis
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

from torch import nn

from properties.recognition.adapters.argument_names import ARGUMENTS

ABSENT: Any = object()


@dataclass(frozen=True)
class Surroundings:
    """The settings of a module, and whether they are read after a constructor has run.

    module: its name in sys.modules; names: those that are read there, and are numbers or missing.
    """

    module: str = ""
    names: tuple[str, ...] = ()
    late: bool = False

    @property
    def home(self) -> dict[str, Any]:
        """The names of the module, as they are."""
        return vars(sys.modules[self.module])

    @contextmanager
    def lent(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Names have these values while the body runs; then all are what they were before."""
        if not self.names:
            yield
            return
        before = {name: self.home.get(name, ABSENT) for name in self.names}
        self.home.update(values)
        try:
            yield
        finally:
            restore(self.home, before)

    def attach(self, module: nn.Module, values: Mapping[str, Any]) -> None:
        """Lend the module these values in each of its calls, if it reads them there."""
        if self.late and values:
            loan = Loan(self.module, tuple(values.items()))
            module.register_forward_pre_hook(loan.begin)
            module.register_forward_hook(loan.end, always_call=True)


def restore(home: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Give names the values that they had, or none."""
    for name, value in before.items():
        if value is ABSENT:
            home.pop(name, None)
        else:
            home[name] = value


@dataclass(frozen=True)
class Loan:
    """Hooks around forward that set names of a module and restore them, also where it raises."""

    module: str
    values: tuple[tuple[str, Any], ...]
    before: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, module: nn.Module, arguments: Any) -> None:
        """Set them."""
        home = vars(sys.modules[self.module])
        self.before.append({name: home.get(name, ABSENT) for name, _ in self.values})
        home.update(self.values)

    def end(self, module: nn.Module, arguments: Any, output: Any) -> None:
        """Restore them."""
        restore(vars(sys.modules[self.module]), self.before.pop())


def found(target: Callable[..., Any], role_of: Callable[[str], str | None]) -> Surroundings:
    """The settings with a role that a class or factory reads from its module."""
    module = getattr(target, "__module__", "")
    if module not in sys.modules:
        return Surroundings()
    home = vars(sys.modules[module])
    early: set[str] = set()
    late: set[str] = set()
    for function in functions(target, module, set()):
        (early if function.__name__ == "__init__" else late).update(globals_of(function.__code__))
    names = [n for n in sorted(early | late) if is_setting(n, role_of(n), home)]
    return Surroundings(module, tuple(names), not late.isdisjoint(names))


KINDS: Mapping[str, tuple[type, ...]] = {
    "dropout": (int, float),
    "output_dropout": (int, float),
    "qkv_bias": (bool,),
    "causal": (bool,),
    "device": (str,),
}


def is_setting(name: str, role: str | None, home: Mapping[str, Any]) -> bool:
    """Whether a global name with a role is a value of the kind that this has, or missing."""
    if role not in ARGUMENTS:
        return False
    if name not in home:
        return not hasattr(builtins, name)
    return type(home[name]) in KINDS.get(role, (int,))


def functions(target: Any, module: str, seen: set[Any]) -> Iterator[FunctionType]:
    """The functions of a class or factory, and of the classes and functions of its module they name."""
    if target in seen or getattr(target, "__module__", None) != module:
        return
    seen.add(target)
    own = [target] if isinstance(target, FunctionType) else []
    for base in target.__mro__ if isinstance(target, type) else ():
        if base is target:
            own += [f for f in map(unwrapped, vars(base).values()) if isinstance(f, FunctionType)]
        else:
            yield from functions(base, module, seen)
    for function in own:
        yield function
        for name in globals_of(function.__code__):
            value = function.__globals__.get(name)
            if isinstance(value, type | FunctionType):
                yield from functions(value, module, seen)


def unwrapped(member: Any) -> Any:
    """The function inside a static method, a class method or a property."""
    return getattr(member, "__func__", getattr(member, "fget", None) or member)


def globals_of(code: CodeType) -> set[str]:
    """The global names that code reads, and what is defined inside of it."""
    names = {str(i.argval) for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return names.union(*(globals_of(part) for part in inner))
