"""Run a target in a process of its own, and survive what it does to it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from properties.errors import QuestionError
from properties.result import Report

Progress = Callable[[str, str, int, int], None]  # subject, phase or clause, cases done, in all
PATIENCE = 3  # lost processes after which a subject's remaining clauses are not asked any more


@dataclass
class Request:
    """What the worker is asked for."""

    target: str
    family: str | None
    options: dict[str, Any]
    timeout: float
    progress: Progress = lambda subject, phase, done, total: None
    arrived: Callable[[Report], None] = lambda report: None
    names: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # by name: why it cannot be asked
    reports: list[Report] = field(default_factory=list)
    done: int = 0  # subjects that are reported or refused
    lost: dict[str, str] = field(default_factory=dict)
    phase: str = "starting"


def run_isolated(request: Request) -> list[Report]:
    """The reports on every subject of the target; raises `QuestionError` where there is none."""
    while not request.names or request.done < len(request.names):
        lost = one_process(request) or "ended the process"
        if request.names and request.done == len(request.names):
            break  # how a process ends that has said all is of no interest
        if "/" not in request.phase:
            raise QuestionError(
                f"{request.target} {lost} while {request.phase}; nothing was checked"
            )
        request.lost[request.phase] = f"{lost} here; the process was ended"
        from properties.spec import select

        asked = select(request.options["only"])
        if sum(clause.id in request.lost for clause in asked) == PATIENCE:
            for clause in asked:
                request.lost.setdefault(
                    clause.id, f"not asked: the process was lost {PATIENCE} times before"
                )
    return request.reports


def one_process(request: Request) -> str | None:
    """Follow one worker to its end; None if it ended in order, else how it was lost."""
    message = {
        "target": request.target,
        "family": request.family,
        "options": request.options,
        "first": request.done,
        "lost": request.lost,
    }
    return follow("properties.worker", message, request.timeout, lambda event: take(request, event))


def follow(
    program: str, message: dict[str, Any], timeout: float, take: Callable[[dict[str, Any]], None]
) -> str | None:
    """Run a module as a process and take its events; None if it ended in order, else how not."""
    read, write = os.pipe()
    # -P: a file of the user's that is called properties.py must not come before this package.
    command = [sys.executable, "-P", "-m", program, str(write), json.dumps(message)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, pass_fds=[write], stdin=subprocess.DEVNULL, stderr=errors, env=environment()
        )
        os.close(write)
        try:
            for line in lines(read, timeout):
                take(json.loads(line))
        except TimeoutError:
            return f"did not return within {timeout:g} s"
        finally:
            os.close(read)
            finish(process)
        if process.returncode:
            errors.seek(0)
            return death(process.returncode, errors.read().decode(errors="replace"))
    return None


def environment() -> dict[str, str]:
    """The environment here, with the import path, so that the worker finds the same packages."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path}


def take(request: Request, event: dict[str, Any]) -> None:
    """Note what the worker says."""
    match event:
        case {"event": "step", "phase": phase, "done": done, "total": total}:
            request.phase = phase
            name = request.names[request.done] if request.names else request.target
            request.progress(name, phase, done, total)
        case {"event": "subjects", "names": names, "refused": refused}:
            request.names, request.refused = names, {**refused, **request.refused}
        case {"event": "report", "report": report}:
            request.reports.append(Report.from_dict(report))
            request.done, request.lost = request.done + 1, {}
            request.arrived(request.reports[-1])
        case {"event": "refused", "name": name, "message": message}:
            request.refused[name] = message
            request.done, request.lost = request.done + 1, {}
        case {"event": "question", "message": message}:
            raise QuestionError(message)


def lines(descriptor: int, timeout: float) -> Iterator[bytes]:
    """The lines that arrive, until the other end closes; silence for `timeout` s is an error."""
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout):
                raise TimeoutError
            block = os.read(descriptor, 65536)
            if not block:
                return
            *complete, pending = (pending + block).split(b"\n")
            yield from complete


def finish(process: subprocess.Popen[bytes]) -> None:
    """End the worker if it has not ended by itself."""
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def death(code: int, errors: str) -> str:
    """How a process ended that was not meant to."""
    last = errors.strip().splitlines()[-1:] or [""]
    text = f" ({last[0][:200]})" if last[0] else ""
    if code < 0:
        return f"killed the process by {signal.Signals(-code).name}{text}"
    return f"ended the process with exit code {code}{text}"
