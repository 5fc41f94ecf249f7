"""One call as plain data: what a law asked when it failed, and what another subject answers to it.

Legend: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.question import Question
from properties.findings.call_tape import heard_until_it_fails
from properties.findings.evidence import sizes_of
from properties.findings.recording import record
from properties.runs.result import describe_case, read_case
from properties.spec.clause import Clause, clauses
from properties.subjects.call import PLAINLY, Arguments, Inputs
from properties.subjects.instance import describe, to_array
from properties.subjects.subject import Subject
from properties.survey.comparison import within

RETURNED = ("weights", "averaged", "lse")
"""What is asked for besides the output, which alone is compared."""
FORMED = ("out-projection", "out-bias")
"""Capabilities in which modules must be alike to be filled with the same weights."""


def heard(subject: Subject, clause: str, counterexample: Mapping[str, Any]) -> dict[str, Any]:
    """The call that shows by itself that a clause fails: the first one that raises or whose answer is off,
    else one about a row that sees nothing, rather one that is answered otherwise than is usual for the
    subject; empty where there is none.
    """
    case = read_case(counterexample, subject)
    told = [told_of(*each) for each in asked(clauses()[clause], case)]
    return max(filter(None, told), key=lambda each: (each["off"], each["odd"]), default={})


def asked(clause: Clause, case: Case) -> list[tuple[Question, BaseException | None]]:
    """The calls by which a clause asks for outputs in eval mode, and what they raised; those that are made
    in a way of their own are no calls that another could be asked.
    """
    calls = heard_until_it_fails(clause, case) if case.subject.takes else []
    told = [
        (call.question, call.error)
        for call in calls
        if call.upstream is None and call.handing == PLAINLY
    ]
    if told:
        return told
    return [(handed(case), None)] if case.subject.bare else list(of_module(clause, case))


def handed(case: Case) -> Question:
    """A function's call on what its shell hands over."""
    instance = case.build()
    module: Any = instance.module
    with torch.no_grad():
        parts = module.handed_over(instance.tensor(case.x))
    names = ("queries", "keys", "values")
    return Question(case, dict(zip(names, map(to_array, parts), strict=True)), Arguments())


def of_module(clause: Clause, case: Case) -> Iterator[tuple[Question, BaseException | None]]:
    """The calls of a module on x alone, of valid input."""
    for call in record(clause, case).calls:
        x, config, weights = call.x, call.build.config, call.build.weights
        x = x if x.ndim == 3 else x[None]
        valid = x.shape[2] == config.sizes.d_in and x.shape[1] <= config.sizes.context_length
        if call.training or not valid or not np.isfinite(x).all():
            continue
        sizes = replace(config.sizes, batch=x.shape[0], tokens=x.shape[1])
        own = replace(case, sizes=sizes, x=x, other=x, weights=weights, cut=0, call=None)
        own = replace(own, dtype=config.dtype, bias=config.bias)
        if own.known:
            yield Question(own, {"x": x}, Arguments()), call.error


def told_of(question: Question, error: BaseException | None) -> dict[str, Any]:
    """A question as plain data, with the answer to it; empty where that is the definition's, which says
    something of every row.
    """
    right, allowed, alike = definition(question)
    answer = given(question) if error is None else {"reason": f"raised {describe(error)}"}
    output = np.asarray(answer.get("output", []), np.float64)
    shaped = output.shape == right.shape
    off = not (shaped and within(output, right, allowed))
    if not off and np.isfinite(allowed).all():
        return {}
    return {
        "off": off,
        "odd": not (shaped and within(output, right, alike)),
        "words": words(question),
        "case": describe_case(question.case),
        "inputs": {name: part.tolist() for name, part in question.inputs.items()},
        "arguments": dict(spoken(question.arguments)),
        "form": form(question.case.subject),
        "right": right.tolist(),
        "allowed": allowed.tolist(),
        "alike": alike.tolist(),
        "answer": answer,
    }


def words(asked: Question) -> str:
    """What is called, with which sizes."""
    batch, heads, tokens, keys = asked.shape
    if not asked.function:
        return f"{asked.words}, {sizes_of(asked.case)}"
    groups, width = asked.inputs["keys"].shape[1], asked.inputs["queries"].shape[3]
    sizes = f"B={batch} T={tokens} S={keys} H={heads} G={groups} D={width}"
    return f"{asked.words}, {sizes}, {asked.case.dtype}"


def definition(asked: Question) -> tuple[Array, Array, Array]:
    """The right output, how far one may be from it (infinite in rows that see nothing), and the same
    without exception, (B, T, W) each.
    """
    if alone(asked.inputs, asked.arguments):
        case = asked.case
        return case.trace.output, case.budget.output, case.budget.output
    truth = asked.truth
    return truth.output, truth.allowed, truth.allowed_if_empty


def alone(inputs: Inputs, arguments: Arguments) -> bool:
    """Whether it is x alone that goes in."""
    return set(inputs) == {"x"} and not arguments.given()


def spoken(arguments: Arguments) -> Iterator[tuple[str, Any]]:
    """What is told besides the inputs, as plain data."""
    for name, value in arguments.given().items():
        if name not in RETURNED:
            yield name, value.tolist() if isinstance(value, np.ndarray) else value


def form(subject: Subject) -> dict[str, Any]:
    """What has to be the same in who is asked the same."""
    return {
        "bare": subject.bare,
        "family": subject.family,
        "scaled": subject.scaled,
        "positions": "" if subject.positions is None else subject.positions.words,
        "align": subject.conventions.align,
        **{name: subject.has(name) for name in FORMED},
    }


def answered(subject: Subject, call: Mapping[str, Any]) -> dict[str, Any]:
    """The output of a subject for such a call, or the reason why there is none."""
    if reason := next(unfit(subject, call), ""):
        return {"reason": reason}
    told: dict[str, Any] = {name: read(name, value) for name, value in call["arguments"].items()}
    inputs = {name: np.asarray(part, np.float64) for name, part in call["inputs"].items()}
    case = read_case(call["case"], subject)
    return given(Question(case, inputs, Arguments(**told)))


def read(name: str, value: Any) -> Any:
    """What is told, of plain data."""
    if not isinstance(value, list):
        return value
    return tuple(value) if name == "window" else np.asarray(value)


def given(asked: Question) -> dict[str, Any]:
    """What the subject of a question answers, the output alone."""
    asked = asked.changed(**dict.fromkeys(RETURNED, False))
    try:
        if alone(asked.inputs, asked.arguments):
            return {"output": asked.case.run(asked.inputs["x"]).tolist()}
        return {"output": asked.answer().output.tolist()}
    except SubjectError as error:
        return {"reason": str(error).splitlines()[0]}


def unfit(subject: Subject, call: Mapping[str, Any]) -> Iterator[str]:
    """Why a subject cannot be asked the same."""
    asked, own = call["form"], form(subject)
    inputs, told = call["inputs"], call["arguments"]
    if own["bare"] != asked["bare"]:
        yield "takes queries, keys and values" if subject.bare else "takes tokens"
        return
    if (dtype := call["case"]["dtype"]) not in subject.dtypes:
        yield f"does not run in {dtype}"
    lacking = [role for role in roles(call) if role not in subject.takes]
    if lacking:
        yield f"takes no {' and no '.join(lacking)}"
    if subject.bare and not subject.layout:
        yield "takes no heads beside each other"
    keys, queries = (len(inputs[n][0][0]) if n in inputs else 0 for n in ("keys", "queries"))
    aligned = own["align"] == asked["align"] or keys == queries
    if not aligned and {"causal", "window", "slopes"} & set(told):
        yield f"its diagonal lies {own['align']}"
    if not subject.bare:
        yield from unlike(subject, call)


def unlike(subject: Subject, call: Mapping[str, Any]) -> Iterator[str]:
    """Why a module cannot be filled with the same weights, or computes something else with them."""
    case, own = call["case"], form(subject)
    names = ("family", "scaled", "positions", *FORMED)
    if differing := [name for name in names if own[name] != call["form"][name]]:
        yield f"is another kind of module: {', '.join(differing)}"
    sizes, groups = case["sizes"], case["sizes"].get("groups", 0)
    if sizes["d_in"] != sizes["heads"] * sizes["head_dim"] and not subject.has("rectangular"):
        yield "has a d_out that is its d_in"
    if groups and not (subject.has("groups") or (groups == 1 and subject.has("one group"))):
        yield "has no groups of heads"
    if case["bias"] and not (subject.has("qkv-bias") or subject.has("always-biased")):
        yield "has no bias of queries, keys and values"
    if not case["bias"] and subject.has("always-biased"):
        yield "has a bias of queries, keys and values always"


def roles(call: Mapping[str, Any]) -> list[str]:
    """What a subject has to take, to be asked this."""
    found = [name for name in call["arguments"] if name != "padding_of_x"]
    if "context" in call["inputs"]:
        found = [f"context_{n}" if n in ("mask", "bias", "padding") else n for n in found]
        found += [name for name in ("context", "context_values") if name in call["inputs"]]
    if "queries" in call["inputs"]:
        queries, keys = (call["inputs"][name][0] for name in ("queries", "keys"))
        found += ["groups"] * (len(keys) < len(queries))
        found += ["lengths"] * (len(keys[0]) != len(queries[0]))
    return found
