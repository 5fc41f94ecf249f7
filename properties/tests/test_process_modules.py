"""Programs with modules: asked as modules of torch are, weights sent when they have changed, caches fed."""

from __future__ import annotations

import copy
import gc
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import properties
from attention import MultiHeadAttention
from properties import Process, QuestionError, check
from properties.recognition.process.program import Program, ProgramError, RefusedError
from properties.recognition.targets import find
from properties.runs.runner import run
from properties.tests.programs import Saying, saying_in

EXAMPLES = Path(properties.__file__).parent.parent / "examples" / "process"
PYTHON = shlex.join([sys.executable, str(EXAMPLES / "module.py")])
SIZES = {"context_length": 7, "qkv_bias": True, "dropout": 0.0}
HELLO = (
    "if m['do'] == 'hello': say(protocol=2, module={'family': 'causal', 'cache': True}); continue"
)
BUILT = "if m['do'] == 'build': say(module=1); continue"
ECHO = "say(output=m['x'])"
LOADED = "if m['do'] in ('load', 'free'): say(); continue"
BY_TOKEN = "cache/token-by-token-equals-the-whole"
FUTURE = "causality/future-does-not-change-past"
FEW = [FUTURE, "error/indivisible-heads", "error/too-many-tokens"]


def command(language: str) -> str:
    """What runs the example in a language."""
    if language == "py":
        return PYTHON
    node = shutil.which("node") or pytest.skip("no node here")
    return shlex.join([node, str(EXAMPLES / "module.js")])


@pytest.fixture
def saying(tmp_path: Path) -> Saying:
    """See `saying_in`."""
    return saying_in(tmp_path)


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with what is asked of programs."""
    asked: list[str] = []
    own = Program.ask

    def noted(program: Program, message: dict[str, Any]) -> dict[str, Any]:
        asked.append(message["do"])
        return own(program, message)

    monkeypatch.setattr(Program, "ask", noted)
    return asked


def made(program: str = PYTHON, **sizes: Any) -> nn.Module:
    """A module of 6 columns in, and 4 heads of 2 columns out."""
    seeded = torch.Generator().manual_seed(0)
    module = Process(program).module(6, 8, 4, **(SIZES | sizes)).double()
    for parameter in module.parameters():
        parameter.data.normal_(generator=seeded)
    return module


def tokens(count: int = 5, batch: int = 2) -> Tensor:
    """Numbers x (B, T, 6)."""
    return torch.randn(
        batch, count, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )


@pytest.mark.parametrize("language", ["py", "js"])
def test_a_right_module_is_accused_of_nothing(language: str) -> None:
    report = check(f"process:{command(language)}", profile="quick", only=FEW)
    assert {r.clause: r.status for r in report.results if r.clause in FEW} == dict.fromkeys(
        FEW, "pass"
    )


@pytest.mark.parametrize(
    ("language", "wrong", "law", "name"),
    [
        ("js", "dropout", "state/forward-is-pure", "dropout alive in eval"),
        ("py", "cache", BY_TOKEN, "hole in the cache"),
    ],
)
def test_a_wrong_module_is_told_by_its_name(language: str, wrong: str, law: str, name: str) -> None:
    report = check(f"process:{command(language)} {wrong}", profile="quick", only=[law])
    assert law in report.failed
    assert name in [finding.name for finding in report.findings]


def test_weights_are_sent_when_they_have_changed_and_only_then(verbs: list[str]) -> None:
    module, x = made(), tokens()
    module(x)
    module(x)
    module.get_parameter("W_key.weight").data[0, 0] += 1.0  # which no version counts
    changed = module(x)
    assert verbs[1:] == ["build", "load", "call", "call", "load", "call"]
    module.float()
    assert (module(x.float()).double() - changed).abs().max() < 1e-5
    assert verbs[-2:] == ["load", "call"]


def test_gradients_of_a_module_are_those_that_it_answers() -> None:
    """Of what torch computes with the same weights."""
    module, x = made(), tokens().requires_grad_()
    right = MultiHeadAttention(6, 8, 7, 0.0, 4, True).double()
    right.load_state_dict(module.state_dict(), strict=False)
    found, expected = (
        torch.autograd.grad(one(x).square().sum(), (x, *weights_of(one))) for one in (module, right)
    )
    assert all((a - b).abs().max() < 1e-10 for a, b in zip(found, expected, strict=True))


def weights_of(module: nn.Module) -> list[nn.Parameter]:
    """In the order of their names."""
    return [parameter for _, parameter in sorted(module.named_parameters())]


@pytest.mark.parametrize("language", ["py", "js"])
def test_a_sequence_goes_on_from_its_own_state(language: str) -> None:
    module, x = made(command(language)).eval(), tokens()
    whole = module(x)
    past: dict[str, Any] = {}
    other: dict[str, Any] = {}
    first = module(x[:, :2], past=past)
    module(-x[:, :3], past=other)
    with pytest.raises(RefusedError, match="8 tokens"):
        module(tokens(6), past=past)
    found = torch.cat([first, module(x[:, 2:3], past=past), module(x[:, 3:], past=past)], dim=1)
    assert (found - whole).abs().max() < 1e-12


def test_the_module_in_c_is_right_and_touches_no_memory_that_is_not_its_own(
    tmp_path: Path,
) -> None:
    """In calls, in sequences, in what it refuses, and where what is gone is freed."""
    tool, target = shutil.which("cc") or pytest.skip("no cc here"), str(tmp_path / "module")
    checks = "-fsanitize=address,undefined"
    command = [tool, "-O1", checks, str(EXAMPLES / "module.c"), "-o", target, "-lcjson", "-lm"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no cJSON (libcjson-dev) or no sanitizers here")
    process, x = Process(target), tokens().float()
    right = MultiHeadAttention(6, 8, 7, 0.0, 4, False)
    right.out_proj.bias.data.zero_()
    module = process.module(6, 8, 4, context_length=7)
    module.load_state_dict({n: p for n, p in right.state_dict().items() if n.endswith("weight")})
    past: dict[str, Any] = {}
    parts = [module(part, past=past) for part in x.split([2, 1, 2], dim=1)]
    for found in (module(x), torch.cat(parts, dim=1)):
        assert (found - right(x)).abs().max() < 1e-5
    for refused in (
        lambda: module(x, past=past),
        lambda: module(tokens(8).float()),
        lambda: module(x[..., :5]),
        lambda: process.module(6, 8, 3, context_length=7),
    ):
        with pytest.raises(RefusedError):
            refused()
    for _ in range(40):
        process.module(6, 8, 2, context_length=7)(x[:0])
        module(x[:, :0], past={})
    assert process.program.starts == 1
    assert process.program.last_words() == ""


def test_a_copy_has_weights_of_its_own_and_what_is_gone_is_freed(verbs: list[str]) -> None:
    module, x = made(), tokens()
    before = module(x)
    other = copy.deepcopy(module)
    for parameter in module.parameters():
        parameter.data.zero_()
    assert torch.equal(other(x), before)
    assert not module(x).any()
    for _ in range(40):
        copy.deepcopy(module)
    gc.collect()
    copy.deepcopy(module)
    assert verbs.count("free") == 1
    assert torch.equal(other(x), before)


def test_after_a_crash_modules_are_built_anew_and_sequences_are_lost() -> None:
    module, x = made(f"{PYTHON} crash", dropout=0.5), tokens()
    before = module.eval()(x)
    past: dict[str, Any] = {}
    module(x, past=past)
    with pytest.raises(ProgramError, match="was ended by SIGSEGV without an answer"):
        module.train()(x)
    assert torch.equal(module.eval()(x), before)
    with pytest.raises(ProgramError, match="lost the state of a sequence"):
        module(x[:, :1], past=past)


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ("module='multihead'", "says module: 'multihead'; expected an object"),
        ("module={'family': 'plain'}", "its module is 'plain'; expected one of causal, self"),
        ("module={'family': 'self', 'options': ['rope']}", "'rope' among its options"),
        ("module={'family': 'self', 'out': True}", "out of a module of one head"),
        ("module={'family': 'encoder', 'out_bias': True}", "out_bias without out"),
        ("module={'family': 'encoder', 'cache': True}", "cache of encoder, where nothing is past"),
        ("module={'family': 'causal', 'cache': 1}", "says cache: 1; expected true or false"),
        ("module={'family': 'causal'}, takes=['scale']", "'scale' among its takes"),
        ("module={'family': 'causal'}, formats=['float64']", "no float32 among its formats"),
    ],
)
def test_what_says_nonsense_of_its_modules_cannot_be_asked(
    saying: Saying, claims: str, told: str
) -> None:
    with pytest.raises(QuestionError, match=told):
        Process(saying(f"say(protocol=2, {claims})"))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (["say(error='no GPU')"], "refuses a call of three tokens in float32, .*no GPU"),
        (["say(module='one')"], "gave as module 'one'; expected an integer"),
        (["os._exit(3)"], "ended with exit code 3 without an answer"),
        ([BUILT, "say(error='too many')"], "refuses a call .*too many"),
        ([BUILT, LOADED, "say(out=1)"], "gave as output no array"),
        ([BUILT, LOADED, "print('loading', flush=True)"], "wrote 'loading' to standard output"),
        ([BUILT, LOADED, "if m['do'] == 'call': say(output=m['x']); continue", "say()"],
         "gave as state None; expected an integer"),
    ],
)  # fmt: skip
def test_a_module_that_is_not_answered_for_cannot_be_asked(
    saying: Saying, body: list[str], told: str
) -> None:
    with pytest.raises(QuestionError, match=told):
        find(f"process:{saying(HELLO, *body)}")


def test_a_claim_about_calls_is_tried_and_true_in_a_mask_has_to_be_said(saying: Saying) -> None:
    claims = "takes=['mask'], module={'family': 'self'}"
    hello = f"if m['do'] == 'hello': say(protocol=2, {claims}); continue"
    refused = "if 'mask' in m: say(error='what?'); continue"
    with pytest.raises(QuestionError, match=r"call of three tokens with mask, .*what\?"):
        find(f"process:{saying(hello, BUILT, LOADED, refused, ECHO)}")
    refused = "if 'mask' in m and m['x']['shape'][1] > 3: say(error='what?'); continue"
    with pytest.raises(QuestionError, match="neither among its conventions what true means in it"):
        find(f"process:{saying(hello, BUILT, LOADED, refused, ECHO)}")
    said = hello.replace("takes", "conventions={'mask': 'attend'}, takes")
    [subject] = find(f"process:{saying(said, BUILT, LOADED, refused, ECHO)}")
    assert subject.takes == {"mask": "mask"}


def test_a_program_of_version_1_is_asked_as_before_and_has_no_modules(saying: Saying) -> None:
    """Its first message is the same, and a word of version 2 means nothing in it."""
    body = "assert m == {'id': 1, 'do': 'hello', 'protocol': 1}"
    process = Process(saying(body, "say(protocol=1, module={'family': 'multihead'})"))
    with pytest.raises(TypeError, match="does not say that it has modules"):
        _ = process.module


def test_a_program_with_modules_is_no_function() -> None:
    process, part = Process(PYTHON), torch.ones(1, 1, 2, 2)
    with pytest.raises(TypeError, match=r"has modules: see Process\(...\).module"):
        process(part, part, part)
    with pytest.raises(TypeError, match="does not say that it computes in float16"):
        made().half()(tokens().half())


def test_the_script_of_a_failure_has_the_module_and_its_weights() -> None:
    report = run(find(f"process:{PYTHON} mask")[0], profile="quick", only=[FUTURE], scripts=True)
    named = [finding.name for finding in report.findings]
    assert named == ["mask shows the next token: the diagonal is off by one"]
    [script] = [result.script for result in report.results if result.clause == FUTURE]
    assert f"Attention = Process({PYTHON + ' mask'!r}, " in script
    assert ").module\n" in script
    assert "module = Attention(d_in=1, d_out=1, num_heads=1" in script
    with pytest.raises(AssertionError, match="expected"):
        exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})
    right = script.replace(f"{PYTHON} mask", PYTHON)
    exec(compile(right, "<script>", "exec"), {"__name__": "__main__"})


def test_the_report_says_what_a_module_is_not_told() -> None:
    [subject] = find(f"process:{PYTHON}")
    assert subject.family == "multihead"
    assert subject.matched["key-value heads"] == "num_kv_heads"
    assert subject.has("cache")
    assert subject.has("reset cache")
    assert not subject.has("cache of the caller")
    [note] = [note for note in subject.notes if note.startswith("not claimed")]
    assert "context, context_mask" in note


@pytest.mark.parametrize("example", ["module.py", "module.js", "module.c"])
def test_an_example_of_a_module_is_short(example: str) -> None:
    assert len((EXAMPLES / example).read_text(encoding="utf-8").splitlines()) < 220
