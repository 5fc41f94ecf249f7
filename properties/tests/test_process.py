"""Programs of other languages are asked by the protocol of docs/protocol.md, and told as functions are."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import properties
from properties import Process, QuestionError, check
from properties.basics import losing
from properties.basics.ending import signal_named
from properties.cli import main
from properties.recognition.process import program
from properties.recognition.process.messages import FORMATS, array, tensor
from properties.recognition.process.program import ProgramError, RefusedError
from properties.recognition.targets import find
from properties.runs.runner import run
from properties.tests.programs import Saying, python, saying_in

ROOT = Path(properties.__file__).parent.parent
EXAMPLES = ROOT / "examples" / "process"
CAPPED = "score/cap-is-the-formula"
DIAGONAL = "cross/causal-diagonal-is-kept"
ODDS = "weights/log-odds-are-scaled-score-differences"
FEW = [DIAGONAL, "error/indivisible-groups"]
CAP = {"softcap": 2.0}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program in C."""
    target = str(tmp_path_factory.mktemp("process") / "attention")
    tool = shutil.which("cc") or pytest.skip("no cc here")
    source = str(EXAMPLES / "attention.c")
    command = [tool, "-O1", source, "-o", target, "-lcjson", "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    if "cjson/cJSON.h" in done.stderr:
        pytest.skip("no cJSON here (libcjson-dev)")
    assert done.returncode == 0, done.stderr
    return target


def command(language: str, request: pytest.FixtureRequest) -> str:
    """What runs the example in a language."""
    if language == "c":
        return shlex.quote(request.getfixturevalue("compiled"))
    if language == "js":
        node = shutil.which("node") or pytest.skip("no node here")
        return f"{shlex.quote(node)} {shlex.quote(str(EXAMPLES / 'attention.js'))}"
    return python(EXAMPLES / "attention.py")


@pytest.fixture
def saying(tmp_path: Path) -> Saying:
    """See `saying_in`."""
    return saying_in(tmp_path)


def calls(process: Process, tokens: int = 4, **told: object) -> torch.Tensor:
    """The output for queries, keys and values of one head."""
    part = torch.ones(1, 1, tokens, 2)
    output: torch.Tensor = process(part, part, part, **told)
    return output


@pytest.mark.parametrize("language", ["py", "c", "js"])
def test_a_right_program_is_accused_of_nothing(
    language: str, request: pytest.FixtureRequest
) -> None:
    report = check(f"process:{command(language, request)}", profile="quick", only=FEW)
    assert set(FEW) <= {result.clause for result in report.results if result.status == "pass"}
    assert not report.failed


@pytest.mark.parametrize(
    ("language", "wrong", "law", "name"),
    [
        ("py", "scale", ODDS, "scale absent"),
        ("js", "mask", DIAGONAL, "causal corner changes"),
        ("c", "crash", CAPPED, ""),
    ],
)
def test_a_wrong_program_is_told_as_a_function_is(
    language: str, wrong: str, law: str, name: str, request: pytest.FixtureRequest
) -> None:
    report = check(f"process:{command(language, request)} {wrong}", profile="quick", only=[law])
    assert law in report.failed
    assert name in [finding.name for finding in report.findings]


@pytest.mark.parametrize("wrong", ["", "gradient"])
def test_gradients_of_a_program_are_those_that_it_answers(
    wrong: str, request: pytest.FixtureRequest
) -> None:
    process = Process(f"{command('js', request)} {wrong}")
    seeded = torch.Generator().manual_seed(0)
    given = [torch.randn(1, 2, 3, 4, generator=seeded, dtype=torch.float64) for _ in range(3)]
    found, right = (
        torch.autograd.grad(
            attend(*(part.requires_grad_() for part in given)).square().sum(), given
        )
        for attend in (process, torch.nn.functional.scaled_dot_product_attention)
    )
    near = [torch.allclose(one, other) for one, other in zip(found, right, strict=True)]
    assert near == ([True] * 3 if not wrong else [False, False, True])


def test_a_crash_in_a_valid_call_is_told_by_its_signal(request: pytest.FixtureRequest) -> None:
    """And the program is there again for the next call."""
    process = Process(f"{command('c', request)} crash")
    with pytest.raises(ProgramError, match="ended by SIGABRT without an answer"):
        calls(process, **CAP)
    assert calls(process).shape == (1, 1, 4, 2)


def test_the_program_in_c_touches_and_keeps_no_memory_that_is_not_its_own(tmp_path: Path) -> None:
    """In calls that it answers, and in those that it refuses."""
    target = str(tmp_path / "attention")
    tool = shutil.which("cc") or pytest.skip("no cc here")
    checks = "-fsanitize=address,undefined"
    command = [tool, "-O1", checks, str(EXAMPLES / "attention.c"), "-o", target, "-lcjson", "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no cJSON (libcjson-dev) or no sanitizers here")
    sizes = [
        (2, 2, 3, 3),
        (3, 2, 3, 3),
        (4, 2, 3, 5),
        (2, 2, 0, 0),
        (2, 2, 3, 4),
    ]  # H, G, S, keys of the mask
    lines = [{"do": "hello", "protocol": 1}, {"do": "gradients"}]
    for heads, groups, keys, hidden in sizes:
        query, key = torch.ones(2, heads, 3, 5), torch.ones(2, groups, keys, 5)
        mask = torch.ones(2, heads, 3, hidden, dtype=torch.bool)
        told = {"query": query, "key": key, "value": key, "mask": mask}
        lines.append({"do": "call"} | {name: array(part) for name, part in told.items()})
    said = "".join(json.dumps({"id": n, **line}) + "\n" for n, line in enumerate(lines))
    done = subprocess.run([target], input=said, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [n for n, answer in enumerate(answers) if "output" in answer] == [2, 5]


@pytest.mark.parametrize("language", ["py", "c", "js"])
def test_a_score_that_is_no_number_is_not_lost(
    language: str, request: pytest.FixtureRequest
) -> None:
    """Though a hidden one follows; and a cap without a limit, which JSON lacks, is taken."""
    process = Process(command(language, request))
    assert calls(process, causal=True, scale=float("nan")).isnan().all()
    assert calls(process, softcap=float("inf")).shape == (1, 1, 4, 2)


def test_the_script_of_a_failure_starts_the_program(request: pytest.FixtureRequest) -> None:
    """It is only there where it was run in a process of its own, in another folder, and failed."""
    target = find(f"process:{command('c', request)} mask")[0]
    report = run(target, profile="quick", only=[DIAGONAL], scripts=True)
    [script] = [result.script for result in report.results if result.clause == DIAGONAL]
    assert f"Attention = Process({target.name.removeprefix('process:')!r}, " in script


def test_a_hang_ends_the_law_and_not_the_check(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    options = ["--profile", "quick", "--timeout", "3", "--only", CAPPED]
    assert main(["check", "--process", f"{command('c', request)} hang", *options]) == 2
    told = " ".join(capsys.readouterr().out.split())
    assert "gave no answer within 3 s in forward; the process was ended" in told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (["sys.exit(0)"], "ended with exit code 0 without an answer"),
        (["print('boo', file=sys.stderr)", "os._exit(3)"], "code 3 without an answer; .*boo"),
        (["os.kill(os.getpid(), 9)"], "ended by SIGKILL without an answer"),
        (["print('loading', flush=True)"], "wrote 'loading' to standard output"),
        (["print('[]', flush=True)"], "expected a JSON object"),
        (["say(**hello | {'protocol': 3})"], "version 3 of the protocol; expected 1 or 2"),
        (["say(formats=['int8'], **hello)"], "'int8' among its formats; expected some of float64"),
        (["say(takes=['rope'], **hello)"], "'rope' among its takes; expected some of mask"),
        (["say(takes=['segments'], **hello)"], "'segments' among its takes; expected some of"),
        (
            ["say(protocol=2, takes=['documents', 'mask'])"],
            "takes mask beside documents; expected one",
        ),
        (["say(conventions={'mask': 1}, **hello)"], "convention mask is 1; expected 'attend'"),
        (["say(error='no GPU')"], "refuses hello: no GPU"),
        (["m['id'] += 1", "say(**hello)"], "answered message 2 where message 1 was asked"),
    ],
)
def test_what_says_no_hello_cannot_be_asked(saying: Saying, body: list[str], told: str) -> None:
    with pytest.raises(QuestionError, match=told) as error:
        Process(saying(*body))
    assert "What to do: run it by hand" in str(error.value)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"\xff\xfe boo", "\ufffd\ufffd boo"),
        (b'"\xed\xa0\x80"', '"\ufffd'),  # half of a pair, which json takes from bytes
        ("[7]".encode("utf-16-le"), r"\["),  # in which json sees UTF-16
        (b"[" * 100_000, r"\[\[\["),  # deeper than json goes
    ],
    ids=["other bytes", "surrogates", "UTF-16", "too deep"],
)
def test_bytes_that_are_no_json_in_utf_8_are_told_as_garbage(
    saying: Saying, line: bytes, shown: str
) -> None:
    with pytest.raises(
        QuestionError, match=rf"wrote '{shown}.* expected one line of JSON in UTF-8"
    ):
        Process(saying(f"os.write(1, {line!r} + b'\\n')"))


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert [signal_named(n) for n in (signal.SIGSEGV, 99)] == ["SIGSEGV", "signal 99"]


@pytest.mark.parametrize(
    ("wrong", "told"), [("no-such-program", "could not be started"), ("'", "cannot be read as a")]
)
def test_what_is_no_command_cannot_be_asked(wrong: str, told: str) -> None:
    with pytest.raises(QuestionError, match=told):
        Process(wrong)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("say(output=m['query'] | {'data': 'AAAA'})", "gave 3 bytes for output; expected 32"),
        ("say(output=m['query'] | {'data': '!'})", "what is no base64"),
        ("say(output=m['query'] | {'shape': 4})", "the shape 4; expected a list of sizes"),
        ("say(output=m['query'] | {'dtype': 'int8'})", "the dtype 'int8'; expected one of"),
        ("say(result=m['query'])", "gave as output no array"),
        ("say(output=m['query']); say(output=m['query'])", "answered message 2 where message 3"),
        ("print(7, flush=True)", "expected a JSON object"),
    ],
)
def test_an_answer_that_is_none_is_told_as_what_it_is(
    saying: Saying, answer: str, told: str
) -> None:
    process = Process(saying("if 'hello' in line: say(**hello); continue", answer))
    with pytest.raises(ProgramError, match=told):
        [calls(process) for _ in range(2)]


def test_a_claim_that_fails_is_no_verdict(saying: Saying) -> None:
    """A role, and a format."""
    for claim in ("takes=['mask']", "formats=['float32', 'float16']"):
        hello = f"if 'hello' in line: say({claim}, **hello); continue"
        body = "say(error='what?') if 'mask' in m or 'float16' in line else say(output=m['value'])"
        with pytest.raises(QuestionError, match=r"refuses a call of three tokens .*what\?"):
            find(f"process:{saying(hello, body)}")


def test_a_refusal_is_raised_in_its_words_and_what_is_not_claimed_is_never_asked(
    saying: Saying,
) -> None:
    process = Process(saying("if 'hello' in line: say(**hello); continue", "say(error='never')"))
    with pytest.raises(RefusedError, match="never"):
        calls(process)
    asked = process.program.number
    for dtype, tokens in ((torch.float64, 4), (torch.float32, 3)):
        part = torch.ones(1, 1, 4, 2, dtype=dtype)
        with pytest.raises(TypeError, match="does not say that it"):
            process(part, part[:, :, :tokens], part[:, :, :tokens])
    assert process.program.number == asked


def test_after_some_hangs_a_program_is_not_waited_for_again(
    saying: Saying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losing, "_seconds", [0.2])
    process = Process(saying("if 'hello' in line: say(**hello); continue", "time.sleep(60)"))
    monkeypatch.setattr(program, "GRACE", 0.0)
    for _ in range(losing.PATIENCE):
        with pytest.raises(ProgramError, match=r"no answer within 0\.2 s"):
            calls(process)
    start = time.monotonic()
    with pytest.raises(ProgramError, match="was not asked"):
        calls(process)
    assert time.monotonic() - start < 0.1


def test_the_program_and_what_it_started_end_with_who_asked_even_if_that_is_killed(
    tmp_path: Path,
) -> None:
    noted = tmp_path / "processes"
    child = tmp_path / "child.py"
    child.write_text(
        "import json, os, subprocess, sys\n"
        "other = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(noted)!r}, 'w').write(f'{{os.getpid()}} {{other.pid}}')\n"
        "print(json.dumps({'id': 1, 'protocol': 1}), flush=True)\n"
        "import time; time.sleep(600)\n",
        encoding="utf-8",
    )
    asks = f"import os; from properties import Process; Process({python(child)!r}); os.kill(os.getpid(), 9)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", asks], env=environment)
    assert done.returncode == -signal.SIGKILL
    until = time.monotonic() + 5.0
    left = [int(number) for number in noted.read_text().split()]
    while any(alive(number) for number in left) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(alive(number) for number in left)


def alive(number: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("dtype", [*FORMATS, "bool"])
@pytest.mark.parametrize("shape", [(2, 3), (0, 3), ()])
def test_an_array_is_the_same_after_its_way_through_a_message(
    dtype: str, shape: tuple[int, ...]
) -> None:
    given = torch.full(shape, float("nan")).to(getattr(torch, dtype))
    part = json.loads(json.dumps(array(given)))
    assert part["dtype"] == dtype
    if dtype != "bool":  # no answer has booleans
        found = tensor("output", part)
        assert found.dtype == given.dtype
        assert torch.equal(found.isnan(), given.isnan())
        assert found.shape == given.shape


def test_an_axis_of_one_number_may_have_any_stride() -> None:
    part = torch.empty_strided((1, 1, 1), (7, 2, 2), dtype=torch.float64).fill_(3.0)
    assert torch.equal(tensor("output", array(part)), part)


def test_a_command_line_needs_a_target_or_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert "a TARGET, or --process" in capsys.readouterr().err


@pytest.mark.parametrize("example", ["attention.py", "attention.c", "attention.js"])
def test_an_example_is_short(example: str) -> None:
    assert len((EXAMPLES / example).read_text(encoding="utf-8").splitlines()) < 130


def test_documents_and_segments_are_asked_by_their_laws(tmp_path: Path) -> None:
    """Of a program of version 2."""
    source = (EXAMPLES / "attention.py").read_text(encoding="utf-8")
    source = source.replace('"protocol": 1', '"protocol": 2').replace(' lse"', ' segments lse"')
    hides = "out |= told['segments'][:, None, :, None] != told['segments'][:, None, None]"
    source = source.replace(
        "    return out\n", f"    if 'segments' in told:\n        {hides}\n    return out\n"
    )
    path = tmp_path / "segments.py"
    path.write_text(source, encoding="utf-8")
    alone = "packed/a-segment-sees-itself-alone"
    apart = "packed/documents-do-not-see-each-other"
    for file, law in ((path, alone), (EXAMPLES / "packed.py", apart)):
        report = check(f"process:{python(file)}", profile="quick", only=[law])
        assert [r.status for r in report.results if r.clause == law] == ["pass"]


def test_the_report_says_what_is_not_claimed(request: pytest.FixtureRequest) -> None:
    [subject] = find(f"process:{command('py', request)}")
    assert subject.lacking["gradients"] == "the program does not claim it"
    assert (
        "not claimed by the program, not asked: slopes, dropout, weights, bfloat16" in subject.notes
    )
