"""Scripts about copies, saved states, moves, transformations, and traces that a call leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from properties.cases.budgets import difference
from properties.cases.case import Case
from properties.findings.recording import Tape, built
from properties.findings.scripts import text
from properties.findings.scripts.asking import attempt, given, one_item, require_right, run
from properties.findings.scripts.recipes import recipe
from properties.findings.scripts.script import Script, construct, moved
from properties.spec.clauses.argument import DRAWS, NEARLY_ALL
from properties.spec.clauses.conditions import equal_scores
from properties.spec.clauses.shape import emptied
from properties.spec.clauses.state import found_by_name, probability


@recipe("shape/every-parameter-is-registered")
def every_parameter_is_registered(case: Case, tape: Tape) -> Iterator[Script]:
    """The parameters of one module are copied into another."""
    script = Script(case.subject)
    taught, blank = script.build(built(case)), script.build(built(emptied(case)))
    script.add(
        "with torch.no_grad():",
        f"    for parameter, source in zip({blank}.parameters(), {taught}.parameters(), strict=True):",
        "        parameter.copy_(source)",
    )
    run(script, blank, given(script, case), "output")
    require_right(script, case, "output")
    yield script


@recipe("state/state-dict-round-trip")
def state_dict_round_trip(case: Case, tape: Tape) -> Iterator[Script]:
    """The state_dict of one module is loaded into another."""
    script = Script(case.subject)
    trained, blank = script.build(built(case)), script.build(built(emptied(case)))
    run(script, trained, given(script, case), "output")
    attempt(script, f"{blank}.load_state_dict({trained}.state_dict())", "a state_dict that loads")
    run(script, blank, "x", "output")
    require_right(script, case, "output")
    yield script


@recipe("state/survives-deferred-construction")
def deferred_construction(case: Case, tape: Tape) -> Iterator[Script]:
    """A module is built without memory, is given some, and the state_dict of another one is loaded."""
    script = Script(case.subject)
    trained = script.build(built(case))
    x = given(script, case)
    made = construct(case.subject, case.config(), "deferred")
    run(script, trained, x, "expected")
    script.add(
        "output = expected  # and stays so where what follows is refused, which would be right, too",
        "with torch.no_grad(), suppress(Exception):",
        '    with torch.device("meta"):',
        *(f"        {line}" for line in made),
        '    deferred.to_empty(device="cpu")',
        "    for empty in (*deferred.buffers(), *deferred.parameters()):",
        "        empty.zero_()  # whatever the memory held",
        "    for part in deferred.modules():",
        "        getattr(part, 'reset_parameters', lambda: None)()",
        f"    deferred.load_state_dict({trained}.state_dict())",
        f"    output = deferred.eval()({x})",
        f"allowed = {text.slack(one_item(case, difference(case)))}",
        "near(output, expected.to(torch.float64), allowed)",
    )
    yield script


@recipe("state/queries-keys-and-values-untouched")
def untouched(case: Case, tape: Tape) -> Iterator[Script]:
    """What a function is handed, as views and as copies in order, is compared with what it was."""
    for training, laid in product((False, True), ("", ".contiguous()")):
        script = Script(case.subject)
        module = script.build(built(case, probability(case)))
        x = given(script, case)
        script.add(
            f"{module}.train({training})",
            f"handed = [part.detach().clone(){laid} for part in {module}.handed_over({x})]",
            "before = [part.clone() for part in handed]",
            "with torch.no_grad():",
            f"    {module}.attend(*handed)",
            "for name, part, copied in zip(('queries', 'keys', 'values'), handed, before, strict=True):",
            "    changed = int((part != copied).sum())",
            "    assert not changed, f'expected untouched {name}, got {changed} changed numbers'",
        )
        yield script


@recipe("state/deepcopy")
def deep_copy(case: Case, tape: Tape) -> Iterator[Script]:
    """A copy is made after a call, and the original's parameters are set to zero."""
    script = Script(case.subject)
    module = script.build(built(case))
    run(script, module, given(script, case), "output")
    attempt(script, f"twin = copy.deepcopy({module})", "a deep copy")
    script.add(
        "with torch.no_grad():",
        f"    for parameter in {module}.parameters():",
        "        parameter.zero_()",
    )
    script.add(moved(case.subject, "twin", case.dtype))
    run(script, "twin", "x", "output")
    require_right(script, case, "output")
    yield script


@recipe("state/pickle")
def pickled(case: Case, tape: Tape) -> Iterator[Script]:
    """The module, or where its class has no name to import it by, its state_dict is pickled."""
    script = Script(case.subject)
    build = built(case)
    module = script.build(build)
    run(script, module, given(script, case), "output")
    if all(found_by_name(type(part)) for part in build.module.modules()):
        statement = f"twin = pickle.loads(pickle.dumps({module}))"
        attempt(script, statement, "a module that can be pickled")
    else:
        blank = script.build(built(emptied(case)))
        saved = f"pickle.loads(pickle.dumps({module}.state_dict()))"
        attempt(script, f"{blank}.load_state_dict({saved})", "a state_dict that can be pickled")
        script.add(f"twin = {blank}")
    script.add(moved(case.subject, "twin", case.dtype))
    run(script, "twin", "x", "output")
    require_right(script, case, "output")
    yield script


@recipe("state/dtype-move-takes-the-mask-along")
def dtype_move(case: Case, tape: Tape) -> Iterator[Script]:
    """A module runs in one dtype and is moved to another."""
    first = "float32" if case.dtype == "float64" else "float64"
    script = Script(case.subject)
    module = script.build(built(replace(case, dtype=first)))
    x = given(script, case)
    if first in case.subject.dtypes:
        run(script, module, f"{x}.to(torch.{first})", "output")
    script.add(moved(case.subject, module, case.dtype), f"{module}.eval()")
    script.lines.append("with torch.no_grad():")
    answered(script, f"{module}({x})")
    require_right(script, case, "output")
    yield script


def answered(script: Script, call: str) -> None:
    """A call that must not raise, under a `with` that has just been opened."""
    script.lines += [
        "    try:",
        f"        output = {call}",
        "    except Exception as error:",
        "        raise AssertionError(f'expected an output, got {error!r}') from error",
    ]


@recipe("state/forward-is-pure", "error/refusing-changes-nothing")
def state_unchanged(case: Case, tape: Tape) -> Iterator[Script]:
    """The state_dict is what it was before the calls."""
    script = Script(case.subject)
    first = tape.calls[0].build
    module = script.build(first)
    script.add(f"before = copy.deepcopy({module}.state_dict())")
    for call in tape.calls:
        if call.build is first:
            script.call(call, attempt=call.error is not None)
    script.add(
        f"after = {module}.state_dict()",
        "assert before.keys() == after.keys(), f'expected {list(before)}, got {list(after)}'",
        "for name, numbers in before.items():",
        "    same = torch.equal(numbers.nan_to_num(), after[name].nan_to_num())",
        "    assert same, f'expected an unchanged {name}, was {numbers}, got {after[name]}'",
    )
    yield script


@recipe("state/input-untouched")
def input_untouched(case: Case, tape: Tape) -> Iterator[Script]:
    """The numbers of the input are what they were before the call."""
    for call in tape.calls:
        if call.touched:
            script = Script(case.subject)
            module = script.build(call.build)
            x = script.input(call, "x")
            script.add(f"before = {x}.clone()")
            run(script, module, x, "output", training=call.training)
            script.add(
                f"assert torch.equal({x}, before), f'expected {{before}} untouched, got {{{x}}}'"
            )
            yield script


@recipe("state/train-and-eval-reach-dropout", "argument/dropout-has-effect")
def train_and_eval(case: Case, tape: Tape) -> Iterator[Script]:
    """The modes in turn: in training something is dropped, in eval nothing."""
    probe = equal_scores(case)
    script = Script(case.subject)
    module = script.build(built(probe, NEARLY_ALL))
    given(script, probe)
    expected = one_item(probe, probe.trace.output)
    script.add(
        f"expected = {text.tensor(expected)}",
        f"allowed = {text.slack(one_item(probe, 2.0 * probe.budget.output))}",
        "for _ in range(2):",
        f"    {module}.train()",
        "    dropped = 0",
        f"    for seed in range({case.seed}, {case.seed + DRAWS}):",
        "        torch.manual_seed(seed)",
        "        with torch.no_grad():",
        f"            dropped += int(({module}(x).abs() < 0.5 * expected.abs()).sum())",
        f"    assert dropped, 'expected dropped weights in training at p = {NEARLY_ALL}, got none'",
        f"    {module}.eval()",
        "    with torch.no_grad():",
        f"        near({module}(x), expected, allowed)",
    )
    yield script


@recipe("transform/functional-call")
def functional_call(case: Case, tape: Tape) -> Iterator[Script]:
    """One module is called with the parameters of another."""
    script = Script(case.subject)
    taught, blank = script.build(built(case)), script.build(built(emptied(case)))
    x = given(script, case)
    run(script, blank, x, "output")
    script.add(
        f"before = copy.deepcopy({blank}.state_dict())",
        f"parameters = dict({taught}.named_parameters())",
        "with torch.no_grad():",
    )
    answered(script, f"torch.func.functional_call({blank}, parameters, (x,))")
    script.add(
        f"for name, numbers in {blank}.state_dict().items():",
        "    assert torch.equal(numbers, before[name]), f'expected an unchanged {name}'",
    )
    require_right(script, case, "output")
    yield script


@recipe("transform/vmap-equals-loop")
def vmap(case: Case, tape: Tape) -> Iterator[Script]:
    """A map over the items of the batch."""
    script = Script(case.subject)
    batched = case.subject.has("batched")
    module = script.build(built(case))
    script.add(f"x = {text.typed(case.x, case.dtype)}", f"{module}.eval()", "with torch.no_grad():")
    alone = f"lambda item: {module}(item[None])[0]" if batched else module
    answered(script, f"torch.vmap({alone})(x)")
    item = f"{module}(item[None])[0]" if batched else f"{module}(item)"
    script.lines.append(f"    looped = torch.stack([{item} for item in x]).to(torch.float64)")
    allowed = 2.0 * case.budget.output if case.known else 1e-3 * abs(case.output)
    script.add(f"near(output, looped, {text.slack(allowed)})")
    yield script


@recipe("transform/export-equals-eager")
def export(case: Case, tape: Tape) -> Iterator[Script]:
    """The exported program."""
    script = Script(case.subject)
    module = script.build(built(case))
    given(script, case)
    script.add(f"{module}.eval()", "with torch.no_grad():")
    answered(script, f"torch.export.export({module}, (torch.zeros_like(x),)).module()(x)")
    require_right(script, case, "output")
    yield script


@recipe("transform/compile-equals-eager")
def compiled(case: Case, tape: Tape) -> Iterator[Script]:
    """The compiled module."""
    script = Script(case.subject)
    module = script.build(built(case))
    given(script, case)
    script.add(f"{module}.eval()", "torch.compiler.reset()", "with torch.no_grad():")
    answered(script, f"torch.compile({module}, backend='aot_eager')(x)")
    require_right(script, case, "output")
    yield script
