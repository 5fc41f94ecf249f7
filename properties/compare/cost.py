"""Time and memory of the new side over those of the old one, for information only.

Time is that of the processor, the median over rounds in which the two take turns: a busy machine
slows both, and waiting for it does not count.
Memory is the largest sum of what torch's CPU allocator had handed out at once, counted by its
profiler: scratch space inside a kernel is in it, the parameters are not.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.strategies import coincide, make_case
from properties.compare.results import Pair, on
from properties.subjects.instance import go_back
from properties.subjects.subject import Subject
from properties.truth.parameters import Sizes

SIZES = Sizes(batch=4, tokens=128, d_in=64, heads=4, head_dim=16, context_length=128)
ROUNDS = 15
Step = Callable[[], None]


def measure(pair: Pair, subject: Subject) -> dict[str, float]:
    """New over old for a forward pass and for one with its backward pass; nothing if a side raises.

    subject: what an example is drawn for.
    """
    dtype = "float32" if "float32" in subject.dtypes else subject.dtypes[0]
    case = make_case(
        subject, coincide(SIZES, "all different", subject), dtype, "ordinary", False, 0.5, 0, 0
    )
    try:
        old, new = (steps(on(case, side)) for side in pair.sides)
        found = {}
        for name, before in old.items():
            found[f"{name} time"] = time_ratio(before, new[name])
            peaks = [peak_memory(step) for step in (before, new[name])]
            if min(peaks) > 0:
                found[f"{name} memory"] = peaks[1] / peaks[0]
    except SubjectError:
        return {}
    return found


def steps(case: Case) -> dict[str, Step]:
    """What is measured on one side, each run once already."""
    instance = case.build()
    instance.module.eval()
    x = instance.tensor(case.x if instance.batched else case.x[0])

    def forward() -> None:
        with torch.no_grad():
            instance.forward(x)

    def backward() -> None:
        instance.module.zero_grad()
        output = instance.forward(x.clone().requires_grad_())
        go_back(output, torch.ones_like(output))

    for step in (forward, backward):
        step()
    return {"forward": forward, "forward and backward": backward}


def time_ratio(old: Step, new: Step) -> float:
    """The median time of the new step over that of the old one."""
    times: dict[Step, list[float]] = {old: [], new: []}
    for _ in range(ROUNDS):
        for step, taken in times.items():
            start = time.process_time()
            step()
            taken.append(time.process_time() - start)
    return median(times[new]) / median(times[old])


def peak_memory(step: Step) -> int:
    """The largest number of bytes that were held at once during a step."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler reports itself on stderr
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=cpu, profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [event for event in events if event.get("name") == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak
