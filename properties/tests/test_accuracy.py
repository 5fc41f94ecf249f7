"""The search for the largest error finds what is there, says where, and finds the same again."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attention import CausalAttention
from properties.basics.dtypes import FORMATS
from properties.basics.errors import QuestionError
from properties.cli import main
from properties.recognition.targets import find_one
from properties.runs.accuracy import SHARE, ULPS, Search, accuracy, in_digits, last_place
from properties.runs.result import read_case
from properties.worker import Work

SDPA = "torch.nn.functional:scaled_dot_product_attention"


class OffBy(CausalAttention):
    """Right to float32's rounding, and off by a factor of 1 + 1/1024 where there are three tokens."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) * (1.0 + (2.0**-10 if x.shape[1] == 3 else 0.0))


def test_a_unit_in_the_last_place_is_the_spacing_at_the_rows_largest_value() -> None:
    """At a power of two, between two of them, and no smaller than at the smallest normal number."""
    right = np.array([[[1.0, 0.25], [3.0, -5.0], [0.0, 0.0]]])
    for name, kind in (("float16", np.float16), ("float32", np.float32), ("float64", np.float64)):
        found = last_place(right, FORMATS[name])
        largest = np.abs(right).max(axis=-1, keepdims=True).astype(kind)
        largest = np.maximum(largest, np.finfo(kind).smallest_normal)
        assert np.array_equal(found, np.spacing(largest).astype(np.float64))


def test_the_same_seed_finds_the_same_and_the_case_has_the_value() -> None:
    """The saved case, read again and measured, gives the number that was told."""
    subject = find_one(CausalAttention)
    first, second = (accuracy(subject, "float32", 30, seed=1) for _ in range(2))
    assert first == second
    assert first.share is not None
    assert first.ulps is not None
    for name, worst in ((SHARE, first.share), (ULPS, first.ulps)):
        case = read_case(worst.case, subject)
        assert in_digits(case).value(name, FORMATS["float32"]) == worst.value
    assert 0 < first.share.value < 1


def test_an_error_at_some_sizes_alone_is_found_with_its_size() -> None:
    """Which no rounding makes: the share is above one, and the input has three tokens."""
    found = accuracy(find_one(OffBy), "float32", 60, seed=0)
    assert found.share is not None
    assert found.share.value > 1
    assert found.share.case["sizes"]["tokens"] == 3
    right = accuracy(find_one(CausalAttention), "float32", 60, seed=0)
    assert right.share is not None
    assert right.share.value < 0.5


def test_a_function_is_measured_by_itself_without_projections() -> None:
    """Its queries, keys and values are those of the call."""
    search = Search(find_one(SDPA), "float64")
    assert search.subject.bare
    found = accuracy(find_one(SDPA), "float64", 20, seed=0)
    assert found.counted == found.examples == 20
    assert found.ulps is not None
    assert "queries" in found.ulps.case["call"]["arrays"]
    assert 0 < found.ulps.value < 100


def test_the_command_prints_and_writes_what_it_found(tmp_path: Path) -> None:
    """A line for each number, the cases as JSON, and a page with a table."""
    data, page = tmp_path / "found.json", tmp_path / "accuracy.md"
    asked = ["accuracy", "attention:CausalAttention", "--formats", "float32", "--examples", "20"]
    with redirect_stdout(StringIO()) as out:
        assert main([*asked, "--json", str(data), "--page", str(page)]) == 0
    (found,) = json.loads(data.read_text())["found"]
    assert f"{found['ulps']['value']:.2f} ulps of the row's largest" in out.getvalue()
    row = f"| `attention:CausalAttention` | float32 | {found['share']['value']:.1%} |"
    assert row in page.read_text()
    assert "accuracy attention:CausalAttention --formats float32 \\\n" in page.read_text()


def test_a_format_that_there_is_not_cannot_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those there are."""
    assert main(["accuracy", "attention:CausalAttention", "--formats", "float8"]) == 2
    assert "expected one of float64, float32" in capsys.readouterr().err


def test_what_cannot_be_searched_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """No target, no examples, or none of the formats in which the subject runs."""
    assert main(["accuracy"]) == 2
    assert "a TARGET, or --process" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["accuracy", "attention:CausalAttention", "--examples", "0"])
    assert "'0' is not a whole number, 1 or more" in capsys.readouterr().err
    wire: Any = None
    work = Work(wire)
    subject = find_one(CausalAttention)
    subject.dtypes = ("float32",)
    work.subjects = {"it": subject}
    with pytest.raises(QuestionError, match="runs in float32, not in float16"):
        work.accuracy("it", ["float16"], 1, 0)
