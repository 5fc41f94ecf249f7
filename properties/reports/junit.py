"""Reports as JUnit XML: a test suite for each subject, a test case for each clause."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from properties.reports.text import explained, first_line
from properties.reports.verdict import word
from properties.runs.result import Report, Result, Status

NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(reports: Sequence[Report], path: Path) -> None:
    """The document as a file."""
    root = Element("testsuites", name="attention-properties")
    for report in reports:
        suite(root, report)
    tree = ElementTree.ElementTree(root)
    ElementTree.indent(tree)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def suite(root: Element, report: Report) -> None:
    """One report."""
    kinds = Counter(kind(result, report) for result in report.results)
    refused = not report.results
    element = SubElement(
        root,
        "testsuite",
        name=clean(report.subject),
        tests=str(len(report.results) + refused),
        failures=str(kinds["failure"]),
        errors=str(kinds["error"] + refused),
        skipped=str(kinds["skipped"]),
        time=f"{report.seconds:.3f}",
    )
    known = SubElement(element, "properties")
    for name, value in facts(report).items():
        SubElement(known, "property", name=name, value=clean(value))
    for result in report.results:
        case(element, result, report)
    if refused:
        question = SubElement(element, "testcase", classname="target", name="can be asked")
        SubElement(question, "error", message=clean(" ".join(report.notes)), type="refused")


def facts(report: Report) -> dict[str, str]:
    """What the verdict depends on."""
    return {
        "family": report.family,
        "profile": report.profile,
        "seed": str(report.seed),
        "right": str(report.right).lower(),
        "guarded": str(report.guarded).lower(),
        **report.versions,
    }


def case(element: Element, result: Result, report: Report) -> None:
    """One clause, under its area; what did not pass has an element that says why."""
    area = result.clause.partition("/")[0]
    found = SubElement(
        element, "testcase", classname=area, name=result.clause, time=f"{result.seconds:.3f}"
    )
    tag = kind(result, report)
    if tag is None:
        return
    message = clean(first_line(result))
    if tag == "skipped":
        SubElement(found, tag, message=message)
    else:
        problem = SubElement(found, tag, message=message, type=word(result))
        problem.text = clean(explained(result, report))


def kind(result: Result, report: Report) -> str | None:
    """The element for a result, None for one that passed.

    A failed SHOULD or MAY clause does not decide, so it must not turn a build red.
    """
    if result.status is Status.PASS:
        return None
    if not report.decides(result):
        return "skipped"
    return "failure" if result.status is Status.FAIL else "error"


def clean(text: str) -> str:
    """The text without what XML has no way to write."""
    return NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
