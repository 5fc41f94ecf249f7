"""The door for untrusted functions: the plan is frozen first, then each is loaded and asked elsewhere."""

from __future__ import annotations

import ast
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

from properties.basics.errors import QuestionError
from properties.judging.hosted import Ended, Hosted
from properties.judging.judgement import Finding, Judgement
from properties.judging.plan import Plan, freeze
from properties.judging.reading import Asked, findings
from properties.judging.spec import Spec
from properties.runs.process import Lost

BURST = 12  # calls in a row
PATIENCE = 3  # questions in which it raised, after which no more are asked


def judge_all(
    candidates: Iterable[str], spec: Spec, seed: int | None = None, timeout: float = 60.0
) -> list[Judgement]:
    """`properties.judge` of several functions that claim the same, by one plan."""
    plan = freeze(spec, secrets.randbits(64) if seed is None else seed)
    with Hosted(plan, timeout) as hosted:
        return [judge_one(candidate, plan, hosted) for candidate in candidates]


def judge_one(candidate: str, plan: Plan, hosted: Hosted) -> Judgement:
    """One function by a plan that is there."""
    if "\n" not in candidate:
        file, _, name = candidate.rpartition(":")
        if not file or not Path(file).is_file():
            raise QuestionError(
                f"{candidate}: expected FILE:NAME of a file that is there, or source"
            )
        return asked_there(candidate, Path(file), name, plan, hosted)
    with tempfile.TemporaryDirectory() as folder:
        file_of_it = Path(folder) / "candidate.py"
        file_of_it.write_text(candidate, encoding="utf-8")
        name = function_of(candidate)
        return asked_there(name, file_of_it, name, plan, hosted)


def function_of(text: str) -> str:
    """The last public function that source text defines."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise QuestionError(f"the source cannot be read: {error}") from error
    names = [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name[0] != "_"]
    if not names:
        raise QuestionError("the source defines no public function of query, key and value")
    return names[-1]


def asked_there(called: str, file: Path, name: str, plan: Plan, hosted: Hosted) -> Judgement:
    """Load, ask, and read what came."""
    asked: list[Asked] = []
    found: list[Finding] = []
    try:
        refused = hosted.load(file, name)
        if refused:
            found.append(Finding("not loaded", f"{refused}."))
        else:
            ask(plan, hosted, asked)
            found += [Finding(*one) for one in of_names(hosted.finish())]
    except Lost as lost:
        hosted.close()
        found.append(
            Finding(
                "ended the process", f"It {' '.join(str(lost.loss).split())}; {done(asked, plan)}."
            )
        )
    except Ended as ended:
        words = f"It {ended} before it answered; {done(asked, plan)}."
        found.append(Finding("ended the process", words))
    found = [*of_watched(hosted.watched), *findings(asked), *found]
    return Judgement(called, plan.seed, len(asked), len(plan.questions), tuple(found))


def done(asked: list[Asked], plan: Plan) -> str:
    """How far it came."""
    return f"{len(asked)} of {len(plan.questions)} questions were asked by then"


def ask(plan: Plan, hosted: Hosted, asked: list[Asked]) -> None:
    """All questions; those of one that raises again and again are not asked to the end."""
    for number, question in enumerate(plan.questions):
        one = Asked(question)
        asked.append(one)
        three_calls(one, number, hosted)
        if one.answered and not question.special and burst_is_due(asked):
            raised = hosted.burst(number, BURST)
            held = range(3, 3 + BURST)
            one.burst = [raised] if raised.raised else [hosted.again(number, n) for n in held]
        if sum(any(came.raised for came in other.calls) for other in asked) >= PATIENCE:
            return


def burst_is_due(asked: list[Asked]) -> bool:
    """For the first question that can show it, of each format."""
    dtype = asked[-1].question.dtype
    return not any(one.burst for one in asked if one.question.dtype == dtype)


def three_calls(one: Asked, number: int, hosted: Hosted) -> None:
    """Twice in one storage, once in another while the first has other content; results are held."""
    plan = (("a", 0, 1), ("a", 1, 2), ("b", 3, None))
    for call, (storage, content, then) in enumerate(plan):
        came = hosted.call(number, storage, content)
        one.calls.append(came)
        if came.result is None:
            return
        if call and not one.moved:
            earlier = hosted.again(number, call - 1)
            one.reused |= earlier.bits != one.calls[call - 1].bits
        if then is not None:
            hosted.refill(number, storage, then)
            one.moved |= hosted.again(number, call).bits != came.bits


def of_names(names: list[str]) -> list[tuple[str, str]]:
    """What it has put in the place of functions of others."""
    if not names:
        return []
    words = f"It put something else in the place of {', '.join(names)}, by which others judge or measure."
    return [("replaced function", words)]


def of_watched(seen: set[str]) -> list[Finding]:
    """What it read, and what it called."""
    own = sorted(name for name in seen if name.startswith("aten::"))
    rest = sorted(seen - set(own))
    found = []
    if rest:
        words = f"It {' and '.join(rest)}, which is the judge's and nobody else's."
        found.append(Finding("reads the judge", words))
    if own:
        words = f"It calls torch's own attention ({', '.join(own)}), which the spec rules out."
        found.append(Finding("calls the library", words))
    return found
