"""pytest: --attention TARGET gives one test for each subject and clause.

Loaded by pytest wherever the package is installed, so nothing heavy is imported until a target is
named.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from properties.result import Report
    from properties.subject import Subject

REPORTS = pytest.StashKey["Reports"]()


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


def pytest_configure(config: pytest.Config) -> None:
    """One place for the reports of the session."""
    config.stash[REPORTS] = Reports(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Subject, versions and seed, where a target is named."""
    targets = config.getoption("--attention")
    if not targets:
        return []
    from properties.runner import versions

    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    profile = config.getoption("--attention-profile")
    return [f"attention: {', '.join(targets)}; profile {profile}, seed {seed(config)}; {known}"]


def seed(config: pytest.Config) -> int:
    """Hypothesis's own option, 0 unless it is given: the same verdict on every run."""
    given = config.getoption("--hypothesis-seed", default=None)
    try:
        return int(given or 0)
    except ValueError:
        raise pytest.UsageError(f"--hypothesis-seed {given}: expected an integer") from None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With a target, the verdict on it alone; without one, the suite's own tests alone."""
    home = Path(__file__).parent
    unwanted = home / "tests" if config.getoption("--attention") else home / "test_conformance.py"
    return True if collection_path == unwanted else None


class Reports:
    """Each subject is run once for all clauses whose tests were selected, when the first one starts."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.wanted: dict[str, list[str]] = {}
        self.reports: dict[str, Report] = {}

    def want(self, items: Iterable[pytest.Item]) -> None:
        """Note which clauses of which subject the session will ask about."""
        for item in items:
            if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
                chosen: Any = item.callspec.params.get("attention_clause")
                if chosen is not None:
                    subject, clause = chosen
                    self.wanted.setdefault(subject.name, []).append(clause.id)

    def report(self, subject: Subject, clause: str) -> Report:
        """The subject's report, holding at least this clause."""
        from properties.runner import run

        if subject.name not in self.reports:
            self.reports[subject.name] = run(
                subject,
                profile=self.config.getoption("--attention-profile"),
                seed=seed(self.config),
                only=self.wanted.get(subject.name, [clause]),
            )
        return self.reports[subject.name]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """After -k and -m have chosen."""
    config.stash[REPORTS].want(items)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `attention_clause` runs once for each subject and clause of its family."""
    if "attention_clause" not in metafunc.fixturenames:
        return
    from properties.errors import QuestionError
    from properties.spec import clauses
    from properties.targets import find

    chosen: list[Any] = []
    for target in metafunc.config.getoption("--attention"):
        try:
            subjects = find(target, metafunc.config.getoption("--attention-family"))
        except QuestionError as error:
            raise pytest.UsageError(f"--attention {target}: {error}") from None
        for subject in subjects:
            chosen += [
                pytest.param((subject, clause), id=f"{subject.name}-{clause.id}")
                for clause in clauses().values()
                if clause.concerns(subject)
            ]
    metafunc.parametrize("attention_clause", chosen)


@pytest.fixture
def attention_result(attention_clause: tuple[Subject, Any], request: pytest.FixtureRequest) -> Any:
    """The result of this test's clause on this test's subject."""
    subject, clause = attention_clause
    report = request.config.stash[REPORTS].report(subject, clause.id)
    return next(result for result in report.results if result.clause == clause.id), report
