"""A .py file or a notebook as a module: what it may import, and what is kept where running it fails."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from types import ModuleType

from properties.basics import interrupts
from properties.basics.errors import QuestionError
from properties.basics.ownership import HOME
from properties.recognition.adapters import messages, notebook, script

FORMS = "package.module:Name, path/to/file.py:Name or path/to/notebook.ipynb:Name"
FILES = (".py", ".ipynb")
ROOTS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")  # what lies in the root of a project
IMPORTED = re.compile(r'^[\s"]*(?:from|import)\s+([A-Za-z_]\w*)', re.MULTILINE)
REFERENCE = "attention"  # what this suite installs under a name that a user's package may have


def load_file(path: Path) -> ModuleType:
    """A .py file or a notebook as a module of its own; QuestionError where it is none."""
    if not path.is_file():
        raise no_file(path)
    if path.suffix not in FILES:
        raise messages.refusal(
            f"{path} is neither a Python file nor a notebook.", FORMS, "name a .py or .ipynb file"
        )
    try:
        name = module_name(path)
    except OSError as error:
        raise messages.refusal(
            f"{path} cannot be read: {error}.", FORMS, "make it readable"
        ) from error
    if name in sys.modules:
        return sys.modules[name]
    folders = import_path(path)
    for folder in reversed(folders):
        put_first(folder)
    sys.path += far(path)
    try:
        with own_packages(folders):
            return load_notebook(path, name) if path.suffix == ".ipynb" else load_script(path, name)
    except BaseException:
        sys.modules.pop(name, None)
        raise


def module_name(path: Path) -> str:
    """A name that no other file has, and that changes when the file does."""
    digest = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()
    return f"_target_{re.sub(r'[^0-9a-zA-Z]', '_', path.stem)}_{digest[:12]}"


def import_path(path: Path) -> list[Path]:
    """Where a file looks for modules first, in order.

    Its folder, as of a script that is run; the folder that holds its package; the working directory,
    as for `python -m`; the root of its project, and src in it. See `far` for what comes last.
    """
    folder = path.resolve().parent
    package = folder
    while (package / "__init__.py").is_file() and package != package.parent:
        package = package.parent
    found = [folder, package, Path.cwd()]
    root = next(
        (p for p in (folder, *folder.parents) if any((p / n).exists() for n in ROOTS)), None
    )
    if root is not None:
        found += [root, *([root / "src"] if (root / "src").is_dir() else [])]
    return list(dict.fromkeys(found))


def far(path: Path) -> list[str]:
    """The first folder above a file that holds a module it imports and that is found nowhere else."""
    named = set(IMPORTED.findall(path.read_text("utf-8", "replace"))) - set(sys.modules)
    lost = [name for name in named if importlib.util.find_spec(name) is None]
    holding = (
        str(folder)
        for folder in path.resolve().parents
        if any((folder / n).is_dir() or (folder / f"{n}.py").is_file() for n in lost)
    )
    return list(islice(holding, 1))


def make_importable(folder: Path) -> None:
    """Put a folder first on the import path, as Python does for the script that it runs."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def put_first(folder: Path) -> None:
    """Import from this folder before all others."""
    text = str(folder)
    if text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)
    importlib.invalidate_caches()


@contextmanager
def own_packages(folders: list[Path]) -> Iterator[None]:
    """A package of the user's that is called as ours comes first, as if ours were not installed.

    Without an __init__.py, too, where Python takes any other package of the name before it. Ours
    comes back afterwards, where this process has imported it already.
    """
    theirs = next((f for f in folders if holds_package(f)), None)
    if theirs is None or theirs == HOME:
        yield
        return
    ours = {n: m for n, m in sys.modules.items() if n.partition(".")[0] == REFERENCE and is_ours(m)}
    for name in ours:
        del sys.modules[name]
    folder = theirs / REFERENCE
    if REFERENCE not in sys.modules and folder.is_dir() and not (folder / "__init__.py").is_file():
        space = ModuleType(REFERENCE)
        space.__path__ = [str(folder)]
        sys.modules[REFERENCE] = space
    try:
        yield
    finally:
        if ours:
            for name in [n for n in sys.modules if n.partition(".")[0] == REFERENCE and has(n)]:
                del sys.modules[name]
            sys.modules.update(ours)


def has(name: str) -> bool:
    """Whether this suite has a module of the name; others of the user's may stay beside ours."""
    path = HOME.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def holds_package(folder: Path) -> bool:
    """Whether there are modules to import under the name that ours has."""
    inside = folder / REFERENCE
    return (folder / f"{REFERENCE}.py").is_file() or (inside.is_dir() and any(inside.glob("*.py")))


def is_ours(module: ModuleType) -> bool:
    """Whether a module is of this suite."""
    return Path(getattr(module, "__file__", None) or "").is_relative_to(HOME / REFERENCE)


def load_script(path: Path, name: str) -> ModuleType:
    """A .py file imported under `name`; one that needs its package, as a module of that."""
    try:
        return script.load(path, name)
    except script.ImportFailed as failed:
        error = failed.error
        package = "relative import" in str(error) and (path.resolve().parent / "__init__.py")
        if package and package.is_file():
            return load_inside(path.resolve())
        raise import_failed(str(path), error) from error


def load_inside(path: Path) -> ModuleType:
    """A file as a module of its package."""
    folder, parts = path.parent, [path.stem]
    while (folder / "__init__.py").is_file():
        folder, parts = folder.parent, [folder.name, *parts]
    try:
        return importlib.import_module(".".join(parts))
    except BaseException as error:
        interrupts.subjects_own(error)
        raise import_failed(str(path), error) from error


def load_notebook(path: Path, name: str) -> ModuleType:
    """The definitions of a notebook under `name`."""
    try:
        return notebook.load(path, name)
    except (OSError, ValueError) as error:
        raise messages.refusal(
            f"{path} cannot be read as a notebook: {' '.join(str(error).split())}.",
            "a Jupyter notebook, JSON with code cells",
            "save it again from Jupyter, or name a .py file",
        ) from error


def import_failed(source: str, error: BaseException) -> QuestionError:
    """The refusal of a module that raises or exits while it is imported."""
    verb = "exits" if isinstance(error, SystemExit) else "raises"
    hint = "make it importable: `python -c` with the import shows the whole traceback"
    if isinstance(error, SystemExit):
        hint = 'put what runs at import under `if __name__ == "__main__":`'
    elif "relative import" in str(error):
        hint = "name it as package.module:Name from the folder that holds the package"
    return messages.refusal(
        f"{source} {verb} when it is imported: {messages.described(error)}.",
        "a module that can be imported without doing anything else",
        hint,
    )


def no_file(path: Path) -> QuestionError:
    """The refusal of a path that leads nowhere, with the names that are near."""
    if path.is_dir():
        files = sorted(p.name for p in path.iterdir() if p.suffix in FILES)
        return messages.refusal(
            f"{path} is a folder.", FORMS, f"name a file in it: {messages.listed(files)}"
        )
    folder = path.parent
    there = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    near = messages.did_you_mean(get_close_matches(path.name, there))
    where = (
        f"{folder.resolve()} has no file {path.name}" if there else f"there is no folder {folder}"
    )
    return messages.refusal(f"There is no file {path}: {where}{near}.", FORMS, "correct the path")
