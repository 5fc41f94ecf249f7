"""A .py file as a module, also where a demonstration in it fails: what it defines is kept.

The file is run as Python does. From a statement on that raises, only imports, definitions and the
assignments above the last of these are run; what fails is remembered in the module's
`__failures__`, and names that are not assigned, with the reason, in `__not_run__`.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import tokenize
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from properties.basics import interrupts
from properties.recognition.adapters import messages, notebook

DEFINITIONS: tuple[type[ast.stmt], ...] = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS: tuple[type[ast.stmt], ...] = (ast.Import, ast.ImportFrom)
ASSIGNMENTS: tuple[type[ast.stmt], ...] = (ast.Assign, ast.AnnAssign, ast.AugAssign)


class ImportFailed(Exception):
    """A file that does not import; error: what it raised."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def load(path: Path, name: str) -> ModuleType:
    """The file as a new module called `name`, registered; ImportFailed where nothing can be kept."""
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} has no loader")  # a .py file has one
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        interrupts.subjects_own(error)
        if not kept(module, path.resolve(), error):
            raise ImportFailed(error) from error
    return module


def kept(module: ModuleType, path: Path, error: BaseException) -> bool:
    """Whether the file defines something that can be kept; then the rest of it is run."""
    frames = traceback.walk_tb(error.__traceback__)
    top = (str(path), "<module>")
    lines = [n for f, n in frames if (f.f_code.co_filename, f.f_code.co_name) == top]
    if not lines or "relative import" in str(error):
        return False
    with tokenize.open(path) as file:
        body = ast.parse(file.read()).body
    at = next(n for n, node in enumerate(body) if lines[0] <= (node.end_lineno or 0))
    last = max((n for n, node in enumerate(body) if isinstance(node, DEFINITIONS)), default=-1)
    if last < 0:
        return False
    vars(module).update({"__failures__": [], "__not_run__": {}})
    note(module, body[at], error)
    vars(module)["__failures__"][0] += "; below it, definitions alone are kept"
    for number, node in enumerate(body[at + 1 :], at + 1):
        if isinstance(node, DEFINITIONS + IMPORTS) or (number < last and binds(node)):
            run(module, path, node)
        else:
            leave(module, node, f"is assigned in line {node.lineno}, which is not run")
    return True


def binds(node: ast.stmt) -> bool:
    """Whether a statement only imports, defines or assigns, perhaps on a condition."""
    quiet = (*DEFINITIONS, *IMPORTS, *ASSIGNMENTS, ast.Pass, ast.Raise)
    if isinstance(node, ast.If | ast.Try):
        parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt)]
        parts += [part for h in getattr(node, "handlers", []) for part in h.body]
        return all(binds(part) for part in parts)
    return isinstance(node, quiet)


def run(module: ModuleType, path: Path, node: ast.stmt) -> None:
    """Execute one statement; remember that it failed."""
    try:
        code = compile(
            ast.Module([node], []), str(path), "exec", flags=flags(module), dont_inherit=True
        )
        exec(code, vars(module))
    except BaseException as error:
        interrupts.subjects_own(error)
        note(module, node, error)


def flags(module: ModuleType) -> int:
    """The compiler flags of the features that the file has imported from __future__."""
    features = [getattr(value, "compiler_flag", 0) for value in vars(module).values()]
    return sum({flag for flag in features if isinstance(flag, int)})


def note(module: ModuleType, node: ast.stmt, error: BaseException) -> None:
    """Remember that a statement failed, and what it would have bound."""
    reason = f"line {node.lineno} failed ({messages.brief(error)})"
    vars(module)["__failures__"].append(reason)
    leave(module, node, f"is not there since {reason}")


def leave(module: ModuleType, node: ast.stmt, reason: str) -> None:
    """Remember why the names are missing that a statement would have bound."""
    names: dict[str, Any] = vars(module)["__not_run__"]
    for name in notebook.bound(node):
        names[name] = reason
