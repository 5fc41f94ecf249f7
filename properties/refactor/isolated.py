"""Compare two targets in a process of its own, and survive what they do to it.

Run as a program, this is that process: it takes the descriptor for its events and the request.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

from properties.errors import QuestionError
from properties.isolation import follow
from properties.refactor.outcome import Comparison

Progress = Callable[[str, int, int], None]  # what is compared, examples done, in all


def compare_isolated(
    request: dict[str, Any], timeout: float, progress: Progress = lambda phase, done, total: None
) -> Comparison:
    """What `compare` says of the request; what a side does to the process is a change, too.

    Raises QuestionError where the targets cannot be compared.
    """
    lost: dict[str, str] = {}
    while True:
        events: dict[str, Any] = {"phase": "starting"}

        def take(event: dict[str, Any], events: dict[str, Any] = events) -> None:
            if event["event"] == "step":
                events["phase"] = event["phase"]
                progress(event["phase"], event["done"], event["total"])
            else:
                events[event["event"]] = event

        how = follow(__name__, {**request, "lost": lost}, timeout, take)
        if "question" in events:
            raise QuestionError(events["question"]["message"])
        if "comparison" in events:  # how the process ended afterwards is of no interest
            return Comparison.from_dict(events["comparison"]["comparison"])
        phase = events["phase"]
        if phase in ("starting", "importing", *lost) or phase.endswith("drawing"):
            raise QuestionError(
                f"{request['old']} or {request['new']} {how} while {phase}; nothing was compared."
            )
        lost[phase] = f"{how or 'ended the process'}; nothing came of it"


def main() -> None:
    """Compare, and send what was found."""
    from properties.worker import Wire, silence_standard_output

    wire = Wire(int(sys.argv[1]))
    request = json.loads(sys.argv[2])
    silence_standard_output()
    wire.step("importing", 0, 0)
    try:
        from properties.refactor.compare import compare

        found = compare(**request, listen=wire.step)
    except QuestionError as error:
        wire.send("question", message=str(error))
    except Exception as error:  # ours: the answer is that there is none
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} at {place.filename}:{place.lineno}"
        wire.send("question", message=f"the comparison itself failed: {text}")
    else:
        wire.send("comparison", comparison=found.to_dict())


if __name__ == "__main__":
    main()
