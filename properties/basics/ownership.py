"""Whether `attention` and `properties` are the packages of this distribution.

Others of these names exist, and the one that is installed later overwrites the files of the other.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

from properties.basics.errors import QuestionError
from properties.basics.version import DISTRIBUTION

HOME = Path(__file__).resolve().parents[2]
MARK = f'DISTRIBUTION = "{DISTRIBUTION}"'


def require_own() -> None:
    """QuestionError, with the way out, where another distribution has put its files here."""
    for package in ("properties", "attention"):
        file = HOME / package / "__init__.py"
        if not file.is_file() or MARK not in file.read_text(encoding="utf-8", errors="replace"):
            raise QuestionError(
                f"{file} is not what {DISTRIBUTION} installs: another package of that name has "
                f"taken its place.\nExpected: the files of {DISTRIBUTION}.\n{way_out(package)}"
            )


def require_reference() -> None:
    """QuestionError where `import attention` would find another package first, as in its folder."""
    found = find_spec("attention")
    place = Path(found.origin).resolve() if found and found.origin else None
    if place != HOME / "attention" / "__init__.py":
        raise QuestionError(
            f"`import attention` finds {place} before {HOME / 'attention'}, on which the faults are "
            "built.\nWhat to do: run this in another folder."
        )


def way_out(package: str) -> str:
    """What to do, as commands that can be run."""
    pip = f"{sys.executable} -m pip"
    others = [name for name in packages_distributions().get(package, []) if name != DISTRIBUTION]
    remove = f"{pip} uninstall {' '.join(dict.fromkeys(others))}\n    " if others else ""
    return (
        f"What to do: keep the two apart, each in an environment of its own; or here\n"
        f"    {remove}{pip} install --force-reinstall --no-deps {origin()}"
    )


def origin() -> str:
    """What this distribution was installed from, as pip takes it."""
    try:
        noted = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        return str(HOME)
    known = json.loads(noted) if noted else {}
    if "vcs_info" in known:
        return f"{known['vcs_info']['vcs']}+{known['url']}@{known['vcs_info']['commit_id']}"
    return str(known.get("url", DISTRIBUTION))
