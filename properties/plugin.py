"""pytest: --attention TARGET gives one test for each subject and clause.

Loaded by pytest wherever the package is installed, so nothing heavy is imported until a target is
named. `properties.parametrize`, in a test file, makes the same tests.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from properties.spec.areas import AREAS

if TYPE_CHECKING:
    from properties.runs.isolation import Isolated

LEVELS = ("must", "should", "may")
HALVES = ("right", "guarded", "edge")
TIMEOUT = 60.0
REMEMBERED = "attention_remembered"
WALLS = pytest.StashKey[dict[str, "Isolated"]]()  # by target, what runs it in a process of its own


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of `attention-properties check`, as far as pytest has none of its own."""
    group = parser.getgroup("attention", "attention-properties")
    group.addoption(
        "--attention",
        action="append",
        metavar="TARGET",
        help="verify this attention implementation (package.module:Name or path/to/file.py:Name)",
    )
    group.addoption("--attention-family", metavar="F", help="the family, where it is not found out")
    group.addoption("--attention-profile", default="ci", metavar="P", help="quick, ci or thorough")
    group.addoption("--attention-waivers", metavar="FILE", help="failures that are accepted")
    group.addoption(
        "--attention-convention",
        action="append",
        default=[],
        metavar="NAME=ANSWER",
        help="hold it to this convention, whatever is found: mask=hide, say",
    )
    group.addoption(
        "--attention-with",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="values for arguments and settings of the constructor that have no known meaning",
    )
    group.addoption(
        "--attention-database",
        default=True,
        metavar="PLACE",
        help="where failing cases are kept, as for `check` (default: as in Hypothesis's profile)",
    )
    group.addoption(
        "--attention-no-database",
        dest="attention_database",
        action="store_false",
        help="remember nothing, and ask nothing that is remembered",
    )
    group.addoption(
        "--attention-strict",
        action="store_true",
        help="bad input that is not refused, and an edge of a single size, decide as well",
    )
    group.addoption(
        "--attention-timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="end the subject's process when one step of the check takes longer (default 60)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marks of the tests, for -m."""
    said = {
        **{area: f"a clause of attention's {area}" for area in AREAS},
        **dict.fromkeys(LEVELS, "a clause of attention that binds so"),
        **dict.fromkeys(HALVES, "a clause of this part of the verdict"),
    }
    for name, what in said.items():
        config.addinivalue_line("markers", f"attention_{name}: {what}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the processes of the targets."""
    for target in config.stash.get(WALLS, {}).values():
        target.close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Subject, versions and seed, where a target is named."""
    targets = config.getoption("--attention")
    if not targets:
        return []
    from properties.runs.remarks import versions

    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    profile = config.getoption("--attention-profile")
    lines = [f"attention: {', '.join(targets)}; profile {profile}, seed {seed(config)}; {known}"]
    waivers = config.getoption("--attention-waivers")
    return [*lines, f"attention: waivers are read from {waivers}"] if waivers else lines


def seed(config: pytest.Config, default: int = 0) -> int:
    """Hypothesis's own option; the default, the same on every run, unless it is given."""
    given = config.getoption("--hypothesis-seed", default=None)
    try:
        return default if given is None else int(given)
    except ValueError:
        raise pytest.UsageError(f"--hypothesis-seed {given}: expected an integer") from None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With a target, the verdict on it alone; without one, the suite's own tests alone."""
    home = Path(__file__).parent
    unwanted = home / "tests" if config.getoption("--attention") else home / "test_conformance.py"
    return True if collection_path == unwanted else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """After -k and -m have chosen: what each subject will be asked, so that it is run once."""
    if "properties.testing" not in sys.modules:
        return
    from properties.testing import Check, Diff

    for item in items:
        for value in item.callspec.params.values() if hasattr(item, "callspec") else ():
            if isinstance(value, Check):
                value.asked.wanted.append(value.clause.id)
                value.asked.seed = seed(config, value.asked.seed)
                value.asked.alone = hasattr(config, "workerinput")  # a process of pytest-xdist
            elif isinstance(value, Diff):
                value.options["seed"] = seed(config, value.options["seed"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Send what is told of remembered failures along with the test: it may run in another process."""
    report = yield
    for note in told(item) if report.when == "call" else ():
        report.user_properties.append((REMEMBERED, note))
    return report


def told(item: pytest.Item) -> list[str]:
    """What the report behind a test says of remembered failures."""
    if "properties.testing" not in sys.modules or not hasattr(item, "callspec"):
        return []
    from properties.testing import Check

    checks = [value for value in item.callspec.params.values() if isinstance(value, Check)]
    return [line for check in checks for line in check.asked.told]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What became of remembered failures, each line once."""
    found = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == REMEMBERED
    ]
    for line in dict.fromkeys(found):
        terminalreporter.write_line(f"attention: {line}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `attention_check` runs once for each subject and clause of its family.

    A target has a process of its own, which its subjects may end without ending this one.
    """
    if "attention_check" not in metafunc.fixturenames:
        return
    from properties.basics.errors import QuestionError
    from properties.basics.ownership import require_own
    from properties.runs.choosing import asked
    from properties.runs.memory import opened
    from properties.runs.waivers import read
    from properties.spec.profiles import profile_named
    from properties.testing import Asked, behind_a_wall, checks

    option = metafunc.config.getoption
    if not option("--attention"):
        raise pytest.UsageError("name what is to be verified: --attention TARGET")
    profile, waivers = option("--attention-profile"), option("--attention-waivers")
    chosen = []
    try:
        require_own()
        profile_named(profile)
        if waivers is not None:
            read(Path(waivers))
        memory = opened(option("--attention-database"))
        for name in dict.fromkeys(option("--attention")):
            target = walled(metafunc.config, name)
            for subject, concerned in target.clauses.items():
                strict = option("--attention-strict")
                run = Asked(behind_a_wall(target, subject, profile, waivers, strict, memory))
                clauses = (clause for clause in asked(profile, None) if clause.id in concerned)
                chosen += checks(run, clauses, prefix=f"{subject}-")
    except QuestionError as error:
        raise pytest.UsageError(str(error)) from None
    metafunc.parametrize("attention_check", chosen)


def walled(config: pytest.Config, name: str) -> Isolated:
    """The target with its subjects found, once in a session; QuestionError where one is refused."""
    from properties.basics.errors import QuestionError
    from properties.runs.isolation import Isolated
    from properties.subjects.declaring import parse

    known = config.stash.setdefault(WALLS, {})
    if name not in known:
        option = config.getoption
        known[name] = Isolated(
            name,
            option("--attention-family"),
            option("--attention-timeout"),
            conventions=parse(option("--attention-convention")),
            given=option("--attention-with"),
        )
        known[name].survey()
    if known[name].refused:
        others = ", ".join(known[name].clauses)
        rest = f"\n\nThe others can be asked, by name: {others}" if others else ""
        raise QuestionError("\n\n".join(known[name].refused.values()) + rest)
    return known[name]
