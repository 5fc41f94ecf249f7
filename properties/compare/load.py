"""Two implementations in one process, even where both come from files and modules of the same name.

A file inside a package is imported as a module of it, so that its relative imports work: two working
trees of one package are two targets. What the first import brought along is set aside before the
second, so that neither meets the other's helpers. An import that the old one makes only when it is
called finds the new one's modules.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from properties.basics.errors import QuestionError
from properties.recognition.files import FILES, make_importable
from properties.recognition.files import put_first as first_of_all
from properties.recognition.targets import Declared, Given, found_in, require_place
from properties.subjects.subject import Subject

INSTALLED = frozenset({"site-packages", "dist-packages"})


def load_pair(
    old: Any,
    new: Any,
    family: str | None = None,
    conventions: Declared = None,
    given: Given = None,
) -> tuple[Subject, Subject]:
    """The subjects of both targets, the new one in the family of the old one.

    Raises QuestionError where either cannot be asked, or holds more than one attention class.
    """
    with set_aside_after(old, new):
        first = single(old, family, conventions, given)
    second = single(new, family or first.family, conventions, given)
    require_place(given, (first, second))
    return first, second


def single(target: Any, family: str | None, conventions: Declared, given: Given) -> Subject:
    """The one subject that a target names."""
    root, found_as = importable(target)
    if root is not None:
        put_first(root)
        forget_others(root)
    subjects = found_in(found_as, family, conventions, given)
    if len(subjects) > 1:
        names = ", ".join(subject.name for subject in subjects)
        raise QuestionError(
            f"{target} holds {len(subjects)} attention classes ({names}).\n"
            "Expected: one on each side.\nWhat to do: write the name of one after a colon."
        )
    if found_as != target:
        source = str(target).rpartition(":")[0] or str(target)
        subjects[0].name = f"{source}:{subjects[0].name.rpartition(':')[2]}"
    return subjects[0]


def importable(target: Any) -> tuple[Path | None, Any]:
    """The folder to import from, and the target as it is to be found there.

    path/to/package/part.py:Name is package.part:Name from path/to.
    """
    if not isinstance(target, str):
        return None, target
    source, colon, name = target.rpartition(":")
    path = Path(source if colon else target)
    if not path.is_file():  # a module, or nothing: then `find` says so
        return Path.cwd(), target
    path = path.resolve()
    folder, parts = path.parent, [path.stem]
    while (folder / "__init__.py").is_file():
        folder, parts = folder.parent, [folder.name, *parts]
    if len(parts) == 1 or path.suffix not in FILES[:1]:
        return path.parent, target
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return folder, ".".join(parts) + colon + name


def put_first(folder: Path) -> None:
    """Import from this folder before all others."""
    make_importable(Path.cwd())  # what `find` would otherwise put before it
    first_of_all(folder)


def forget_others(root: Path) -> None:
    """Make room for the modules of this folder where others of the same name have been imported.

    Not for what is installed, nor for this suite itself, whatever lies in the folder.
    """
    for name in list(sys.modules):
        top = name.partition(".")[0]
        there = (root / f"{top}.py").is_file() or (root / top / "__init__.py").is_file()
        fixed = top == "properties" or top in sys.stdlib_module_names
        if there and not fixed and lies_elsewhere(sys.modules[name], root):
            del sys.modules[name]


@contextmanager
def set_aside_after(old: Any, new: Any) -> Iterator[None]:
    """Remove what is loaded here from the old target's folder, unless the new one's is the same."""
    root = importable(old)[0]
    path, known = list(sys.path), set(sys.modules)
    yield
    if root is None or root == importable(new)[0]:
        return
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if lies_below(sys.modules[name], root):
            del sys.modules[name]


def lies_below(module: Any, root: Path) -> bool:
    """Whether a module is from this folder and not from an environment inside it."""
    path = place(module)
    return path is not None and path.is_relative_to(root)


def lies_elsewhere(module: Any, root: Path) -> bool:
    """Whether a module is from another folder and not installed."""
    path = place(module)
    return path is not None and not path.is_relative_to(root)


def place(module: Any) -> Path | None:
    """The file of a module, or its folder; None if it has none or is installed."""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None)
    path = None if file is None else Path(file).resolve()
    return None if path is None or INSTALLED & set(path.parts) else path
