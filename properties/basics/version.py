"""Which version this is, of the package and of the specification; cheap to import."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

SPEC = "1.0"
DISTRIBUTION = "attention-properties"


def described() -> str:
    """One line, with what a verdict depends on most."""
    return (
        f"{DISTRIBUTION} {installed(DISTRIBUTION)} "
        f"(specification {SPEC}, torch {installed('torch')})"
    )


def installed(name: str) -> str:
    """The version of a distribution, without importing it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
