"""The JSON Schema of the protocol: every line that is exchanged follows it, and it knows the same words."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import properties
from properties import Process
from properties.recognition.process.messages import ARGUMENTS, FORMATS, PROTOCOL, SIZES, array
from properties.recognition.process.program import Program, RefusedError
from properties.subjects.call import ANSWERS
from properties.tests.schemas import fits

ROOT = Path(properties.__file__).parent.parent
EXAMPLES = ROOT / "examples" / "process"
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "docs" / "protocol.schema.json").read_text(encoding="utf-8"))
PARTS = SCHEMA["$defs"]
Line = dict[str, Any]


@pytest.fixture
def exchanged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Line, Line]]:
    """Fills with what was asked and what was answered."""
    lines: list[tuple[Line, Line]] = []
    own = Program.exchanged

    def recorded(program: Program, block: bytes) -> bytes:
        answer = own(program, block)
        lines.append((json.loads(block), json.loads(answer)))
        return answer

    monkeypatch.setattr(Program, "exchanged", recorded)
    return lines


def follows(line: Line, name: str = "") -> bool:
    """Whether a line is one that is asked or answered, and the named one of these."""
    side = PARTS["asked" if "do" in line else "answered"]
    return fits(line, side, SCHEMA) and fits(line, PARTS[name] if name else SCHEMA, SCHEMA)


def session(process: Process, **told: Any) -> None:
    """A call of the smallest kind, one with all that is told, one that is refused; gradients."""
    query = torch.ones(1, 2, 3, 4, requires_grad=process.hello.gradients)
    process(query, query, query)
    found = process(query, torch.ones(1, 1, 5, 4), torch.ones(1, 1, 5, 4), **told)
    if process.hello.gradients:
        found.sum().backward()
    with pytest.raises(RefusedError, match="heads of"):
        process(torch.ones(1, 3, 3, 4), query, query)


def test_each_line_of_a_session_in_python_follows_the_schema(
    exchanged: list[tuple[Line, Line]],
) -> None:
    seen = torch.ones(3, 5, dtype=torch.bool)
    told = {"mask": seen, "padding_mask": seen[:1], "bias": torch.zeros(3, 5), "causal": True}
    more = {"window": (2, 7), "scale": 0.5, "softcap": 3.0, "return_lse": True}
    session(Process(shlex.join([sys.executable, str(EXAMPLES / "attention.py")])), **told, **more)
    assert [asked["do"] for asked, _ in exchanged] == ["hello", "call", "call", "call"]
    require_schema(exchanged)
    assert exchanged[2][0].keys() - {"id", "do", "query", "key", "value"} == {
        *("mask", "padding", "bias", "causal", "window", "scale", "cap", "lse")
    }


def test_each_line_of_a_session_in_javascript_follows_the_schema(
    exchanged: list[tuple[Line, Line]],
) -> None:
    node = shutil.which("node") or pytest.skip("no node here")
    told = {"causal": False, "scale": float("inf"), "softcap": 3.0, "dropout_p": 0.5}
    session(Process(shlex.join([node, str(EXAMPLES / "attention.js")])), **told)
    assert [asked["do"] for asked, _ in exchanged] == ["hello", "call", "call", "gradients", "call"]
    require_schema(exchanged)
    assert {"seed", "upstream"} <= exchanged[3][0].keys()


def require_schema(exchanged: list[tuple[Line, Line]]) -> None:
    """The last call is refused; each other line is answered by its own kind."""
    for asked, answered in exchanged:
        assert follows(asked, asked["do"])
        refused = asked is exchanged[-1][0]
        assert follows(answered, "refusal" if refused else f"{asked['do']}_answer")


def test_the_lines_that_the_page_shows_follow_the_schema() -> None:
    part = json.dumps(array(torch.ones(1, 2, 3, 4)))
    text = PAGE.replace("ARRAY, ...", "ARRAY").replace("ARRAY", part)
    lines = [json.loads(line) for line in re.findall(r'^    (\{"id".*?\})$', text, re.S | re.M)]
    asked = [line for line in lines if "do" in line]
    for gradients in asked:  # of which the page leaves out the parts
        if gradients["do"] == "gradients":
            gradients.update(key=gradients["query"], value=gradients["query"])
    assert [line["do"] for line in asked] == ["hello", "call", "gradients"]
    assert len(lines) == 7
    assert [line for line in lines if not follows(line)] == []


def test_the_schema_has_the_words_that_are_known() -> None:
    said, told = PARTS["hello_answer"]["properties"], set(PARTS["call"]["properties"])
    assert (
        said["protocol"]["enum"] == PARTS["hello"]["properties"]["protocol"]["enum"] == [PROTOCOL]
    )
    assert set(said["takes"]["items"]["enum"]) == {*ARGUMENTS, *SIZES}
    assert set(PARTS["format"]["enum"]) == set(FORMATS)
    assert told == {"id", "do", "query", "key", "value", "seed", *ARGUMENTS}
    assert set(PARTS["gradients"]["properties"]) == told | {"upstream"}
    for name, answers in said["conventions"]["properties"].items():
        assert set(answers["enum"]) <= set(ANSWERS[name])
        assert all(f"`{answer}`" in PAGE for answer in answers["enum"])


ARRAY = {"shape": [1], "dtype": "float32", "data": "AAAAAA=="}
CALL = {"id": 2, "do": "call", "query": ARRAY, "key": ARRAY, "value": ARRAY}


@pytest.mark.parametrize(
    "spoiled",
    [
        {"do": "hello", "protocol": 1},
        {"id": 1, "do": "hello", "protocol": 2},
        {"id": 1, "protocol": 1, "takes": ["rope"]},
        {"id": 1, "protocol": 1, "formats": []},
        {"id": 1, "protocol": 1, "conventions": {"align": "middle"}},
        {"id": 2, "output": ARRAY | {"dtype": "int8"}},
        {"id": 2, "output": ARRAY | {"data": "AAAAAA="}},
        {"id": 2, "output": ARRAY | {"shape": [-1]}},
        {"id": 2, "error": None},
        {"id": "2", "output": ARRAY},
        CALL | {"causal": 1},
        CALL | {"scale": "much"},
        CALL | {"window": [1]},
        CALL | {"rope": True},
        CALL | {"do": "gradients"},
    ],
)
def test_the_schema_refuses_what_is_no_line(spoiled: Line) -> None:
    assert follows(CALL)
    assert not follows(spoiled)
