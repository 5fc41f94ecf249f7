"""A notebook as a module: its imports, classes and functions, and nothing else of it is run.

The code cells become one pseudo-file that linecache knows, so that tracebacks and inspect.getsource
work. What fails is remembered in the module's `__failures__`; names that are not bound, and why,
in `__not_run__`; the line at which each cell starts in `__cells__`.
"""

from __future__ import annotations
import __future__

import ast
import json
import linecache
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from properties.basics import interrupts
from properties.recognition.adapters import messages

KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
MAGIC = re.compile(r"^\s*([%!?]|[\w, ]+=\s*[%!])|\?\s*$")
PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun", "%%python", "%%memit")


def read_cells(path: Path) -> list[str]:
    """The source of each cell, "" for cells that are not code; ValueError if it is no notebook."""
    document = mapping(json.loads(path.read_text(encoding="utf-8")))
    if not {"cells", "worksheets"} & set(document):
        raise ValueError("it holds no cells")
    sheets = sequence(document.get("worksheets", [document]))  # format 3 has sheets
    cells = [cell for sheet in sheets for cell in sequence(mapping(sheet).get("cells", []))]
    return [source_of(mapping(cell)) for cell in cells]


def mapping(value: Any) -> dict[str, Any]:
    """The value, which has to be an object of JSON; ValueError otherwise."""
    if not isinstance(value, dict):
        raise ValueError(f"it holds {value!r:.40} where an object is expected")
    return value


def sequence(value: Any) -> list[Any]:
    """The value, which has to be an array of JSON; ValueError otherwise."""
    if not isinstance(value, list):
        raise ValueError(f"it holds {value!r:.40} where an array is expected")
    return value


def source_of(cell: dict[str, Any]) -> str:
    """The text of a code cell."""
    if cell.get("cell_type") != "code":
        return ""
    source = cell.get("source", cell.get("input", ""))
    return source if isinstance(source, str) else "".join(map(str, sequence(source)))


def load(path: Path, name: str) -> ModuleType:
    """A new module called `name`, registered, made of the notebook's definitions.

    Raises OSError if the file cannot be read and ValueError if it is no notebook.
    """
    sources = [without_cell_magic(source) for source in read_cells(path)]
    module = ModuleType(name, f"The definitions of {path.name}.")
    module.__file__ = f"<{path}>"
    state: dict[str, Any] = {"__cells__": {}, "__failures__": [], "__not_run__": {}}
    vars(module).update(state)
    sys.modules[name] = module
    lines: list[str] = []
    flags = 0
    for number, source in enumerate(sources, 1):
        if not source.strip():
            continue
        lines.append(f"# cell {number}\n")
        start = len(lines) + 1
        state["__cells__"][start] = number
        tree, source = parse(source, module, number)
        lines += [line + "\n" for line in source.splitlines()]
        remember(module, lines)
        for node in tree.body:
            ast.increment_lineno(node, start - 1)
            flags |= future_flags(node)
            run(node, module, number, flags)
    return module


def without_cell_magic(source: str) -> str:
    """The cell without its %% line, empty if that makes it another language."""
    first = source.lstrip().split("\n", 1)[0]
    if not first.startswith("%%"):
        return source
    return source.replace(first, "", 1) if first.startswith(PYTHON_CELLS) else ""


def parse(source: str, module: ModuleType, number: int) -> tuple[ast.Module, str]:
    """The cell's statements, and its text with shell lines and magics replaced by `pass`.

    Only a line that Python refuses is replaced: a `%` may start a line of a calculation. A cell
    that is no Python even so is noted and taken as empty.
    """
    lines = source.splitlines()
    for _ in range(len(lines) + 1):
        try:
            return ast.parse("\n".join(lines)), "\n".join(lines)
        except (SyntaxError, ValueError) as error:
            at = (getattr(error, "lineno", None) or 1) - 1
            if not (at < len(lines) and MAGIC.search(lines[at])):
                note(module, number, "is not Python", error)
                break
            blank(lines, at)
    return ast.Module([], []), "\n".join("# not Python" for _ in lines)


def blank(lines: list[str], at: int) -> None:
    """Replace a magic, and the lines that a backslash joins to it, by `pass`."""
    indent = re.match(r"\s*", lines[at])
    while True:
        joined = lines[at].endswith("\\")
        lines[at] = f"{indent[0] if indent else ''}pass"
        at += 1
        if not joined or at == len(lines):
            return


def future_flags(node: ast.stmt) -> int:
    """The compiler flags that a `from __future__ import` sets."""
    if not isinstance(node, ast.ImportFrom) or node.module != "__future__":
        return 0
    features = [getattr(__future__, alias.name, None) for alias in node.names]
    return sum(feature.compiler_flag for feature in features if feature is not None)


def run(node: ast.stmt, module: ModuleType, number: int, flags: int) -> None:
    """Execute an import or a definition; note what other statements would have assigned."""
    if not isinstance(node, KEPT):
        for name in bound(node):
            vars(module)["__not_run__"][name] = (
                f"is assigned in cell {number}, but only the imports, classes and functions of a "
                "notebook are run"
            )
        return
    try:
        tree = ast.Module([node], [])
        code = compile(tree, str(module.__file__), "exec", flags=flags, dont_inherit=True)
        exec(code, vars(module))
    except BaseException as error:
        interrupts.subjects_own(error)
        what = f"class {node.name}" if isinstance(node, ast.ClassDef) else ast.unparse(node)
        note(module, number, f"`{what.splitlines()[0]}` failed", error)
        for name in bound(node):
            reason = f"is not there since cell {number} failed ({messages.brief(error)})"
            vars(module)["__not_run__"][name] = reason


def bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement binds in its module."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
        elif isinstance(part, ast.alias):
            yield part.asname or part.name.partition(".")[0]


def note(module: ModuleType, number: int, what: str, error: BaseException) -> None:
    """Remember that something in a cell did not work."""
    vars(module)["__failures__"].append(f"cell {number}: {what} ({messages.brief(error)})")


def remember(module: ModuleType, lines: list[str]) -> None:
    """Tell linecache the text so far; without a time stamp it is never checked against the disk."""
    text = "".join(lines)
    linecache.cache[str(module.__file__)] = (len(text), None, list(lines), str(module.__file__))
