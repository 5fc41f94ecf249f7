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
from properties.recognition.process import modules
from properties.recognition.process.messages import (
    ARGUMENTS,
    FORMATS,
    KINDS,
    LATER,
    OPTIONS,
    SIZES,
    TOLD,
    VERSIONS,
    WORDS,
    array,
)
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


def test_each_line_of_a_session_with_modules_follows_the_schema(
    exchanged: list[tuple[Line, Line]],
) -> None:
    process = Process(shlex.join([sys.executable, str(EXAMPLES / "module.py")]))
    x = torch.ones(2, 3, 6, requires_grad=True)
    named = {"context_length": 3, "qkv_bias": True, "dropout": 0.5}
    module = process.module(6, 8, 4, 2, **named)
    module(x).sum().backward()
    module.eval()(x.detach(), past={})
    process.left["modules"] += [(1, 99)] * modules.SPARE
    process.left["states"] += [(0, 1)]  # of a program that has ended
    with pytest.raises(RefusedError, match="9 heads"):
        process.module(6, 8, 9, 3, **named)
    verbs = ["hello", "build", "load", "call", "gradients", "begin", "step", "free", "build"]
    assert [asked["do"] for asked, _ in exchanged] == verbs
    require_schema(exchanged)
    assert exchanged[-2][0]["states"] == [2]
    assert {"training", "seed"} <= exchanged[3][0].keys() & exchanged[4][0].keys()
    matrices = {name: tuple(part["shape"]) for name, part in exchanged[2][0]["weights"].items()}
    assert {n: shape for n, shape in matrices.items() if "bias" not in n} == {
        "query": (6, 8),
        "key": (6, 4),
        "value": (6, 4),
        "out": (8, 8),
    }


def test_each_line_about_packed_documents_follows_the_schema(
    exchanged: list[tuple[Line, Line]],
) -> None:
    process = Process(shlex.join([sys.executable, str(EXAMPLES / "packed.py")]))
    starts = torch.tensor([0, 2, 5], dtype=torch.int32)
    part = torch.ones(5, 2, 4)
    told = {"cu_seqlens_q": starts, "cu_seqlens_k": starts, "causal": True}
    assert process(part, part, part, **told).shape == part.shape
    with pytest.raises(RefusedError, match="heads of"):
        process(torch.ones(5, 3, 4), part, part, **told)
    require_schema(exchanged)
    assert exchanged[1][0]["documents"]["dtype"] == "int32"


def kind_of(asked: Line) -> str:
    """The part of the schema that a line follows that is asked."""
    of_module = asked["do"] in ("call", "gradients") and "module" in asked
    return "module_" * of_module + asked["do"]


ANSWERED = {
    "hello": "hello_2_answer",
    "load": "done",
    "free": "done",
    "step": "call_answer",
    "module_call": "call_answer",
}


def require_schema(exchanged: list[tuple[Line, Line]]) -> None:
    """The last call is refused; each other line is answered by its own kind."""
    for asked, answered in exchanged:
        kind = kind_of(asked)
        assert follows(asked, kind)
        usual = "hello_answer" if answered.get("protocol") == 1 else f"{kind}_answer"
        own = usual if answered.get("protocol") == 1 else ANSWERED.get(kind, usual)
        refused = asked is exchanged[-1][0]
        assert follows(answered, "refusal" if refused else own)


def test_the_lines_that_the_page_shows_follow_the_schema() -> None:
    part = json.dumps(array(torch.ones(1, 2, 3, 4)))
    text = PAGE.replace("ARRAY, ...", "ARRAY").replace("ARRAY", part)
    lines = [json.loads(line) for line in re.findall(r'^    (\{"id".*?\})$', text, re.S | re.M)]
    asked = [line for line in lines if "do" in line]
    for gradients in asked:  # of which the page leaves out the parts
        if kind_of(gradients) == "gradients":
            gradients.update(key=gradients["query"], value=gradients["query"])
    functions, module = ["hello", "call", "gradients"], ["build", "load", "call", "gradients"]
    assert [line["do"] for line in asked] == [*functions, *module, "begin", "step", "free"]
    assert len(lines) == 22
    assert [line for line in lines if not follows(line)] == []


def test_the_schema_has_the_words_that_are_known() -> None:
    said, told = PARTS["hello_answer"]["properties"], set(PARTS["call"]["properties"])
    assert said["protocol"]["enum"] == PARTS["hello"]["properties"]["protocol"]["enum"] == [1]
    assert set(said["takes"]["items"]["enum"]) == {*WORDS, *SIZES}
    assert set(PARTS["format"]["enum"]) == set(FORMATS)
    assert told == {"id", "do", "query", "key", "value", "seed", *ARGUMENTS}
    assert set(PARTS["gradients"]["properties"]) == told | {"upstream"}
    for name, answers in said["conventions"]["properties"].items():
        assert set(answers["enum"]) <= set(ANSWERS[name])
        assert all(f"`{answer}`" in PAGE for answer in answers["enum"])


def test_the_schema_has_the_words_of_modules() -> None:
    said = PARTS["hello_2_answer"]["properties"]
    claim = said["module"]["properties"]
    assert (1, *said["protocol"]["enum"]) == VERSIONS
    assert set(said["takes"]["items"]["enum"]) == {*WORDS, *LATER, *SIZES, *TOLD}
    assert tuple(claim["family"]["enum"]) == KINDS
    assert tuple(claim["options"]["items"]["enum"]) == OPTIONS
    told = {"id", "do", "module", "x", "training", "seed", *TOLD}
    assert set(PARTS["module_call"]["properties"]) == told
    assert set(PARTS["module_gradients"]["properties"]) == told | {"upstream"}
    assert set(OPTIONS) <= set(PARTS["build"]["properties"])
    for name, answers in said["conventions"]["properties"].items():
        assert set(answers["enum"]) <= set(ANSWERS[name])
    assert all(f"`{word}`" in PAGE for word in (*KINDS, *OPTIONS, *TOLD))


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
