"""Hold an attention against the vectors and name its fault: python check.py MODULE:NAME FILE...

Called as attention(q, k, v, corner, **options) it gives output and LSE, or raises ValueError.
"""

import importlib
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

TAKES = "alibi bias causal groups mask padding past scale softcap window"


def array(part):
    """The numbers of a field."""
    flat = np.array(part.get("data") or [part["fill"]] * np.prod(part["shape"]), dtype=float)
    for place, number in part.get("at", []):
        flat[place] = number
    return flat.reshape(part["shape"]) * part["times"]


def answer(attention, test, corner):
    """Output and LSE by name; None where the call is refused."""
    options = {n: array(o) if isinstance(o, dict) else o for n, o in test["options"].items()}
    q, k, v = (array(test[n]) for n in "qkv")
    if "past_k" in test:
        k = np.concatenate([array(test["past_k"]), k], axis=2)
        v = np.concatenate([array(test["past_v"]), v], axis=2)
    try:
        output, lse = attention(q, k, v, corner, **options)
    except ValueError:
        return None
    return {"output": output.ravel(), "lse": lse.ravel()}


def far(found, wanted):
    """How far apart the numbers are; null is any number, NaN is like NaN."""
    numbers = np.array([np.nan if x is None else x for x in wanted], dtype=float)
    same = (found == numbers) | (np.isnan(found) & np.isnan(numbers))
    same |= np.array([x is None for x in wanted])
    return np.where(same, 0, np.nan_to_num(abs(found - numbers), nan=np.inf, posinf=np.inf))


def flags(test, found):
    """None where a test is passed, else what it looks like."""
    if found is None or test["result"] == "invalid":
        return None if found is None and test["result"] == "invalid" else []
    right = {n: part for n, part in test["expected"].items() if n in found}
    bounds = {n: part["bounds"]["float64"] for n, part in right.items()}
    off = {n: far(found[n], part["data"]) for n, part in right.items()}
    if all((off[n] <= bounds[n]).all() for n in right):
        return None
    near, looks = max(x[np.isfinite(x)].max(initial=8e-8) for x in off.values()) / 8, set()
    for fault in test["faults"]:
        given = {n: far(found[n], fault.get(n, part["data"])) for n, part in right.items()}
        if all((given[n] <= np.maximum(bounds[n], near)).all() for n in right):
            looks.add(fault["flag"])
    return sorted(looks)


np.seterr(all="ignore")
module, name = sys.argv[1].split(":")
attention, right, wrong, named = getattr(importlib.import_module(module), name), 0, 0, Counter()
for file in (json.loads(Path(path).read_text()) for path in sys.argv[2:]):
    promised = file["conventions"]
    if promised.get("rows_that_see_nothing", "zeros") != "zeros" or "gradients" in file["group"]:
        continue  # this attention promises and gives something else
    for test in (test for test in file["tests"] if all(n in TAKES.split() for n in test["needs"])):
        found = flags(test, answer(attention, test, promised.get("causal_diagonal")))
        right, wrong = right + (found is None), wrong + (found is not None)
        named.update(found or [])
        if found is not None:
            print(f"{test['tcId']}: {test['comment']}: {', '.join(found) or 'unknown'}")
most = [flag for flag in named if named[flag] == max(named.values())]
print(f"{right} right, {wrong} wrong", *most)
