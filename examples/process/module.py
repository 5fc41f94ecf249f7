"""Causal multi-head attention with weights and a cache, as a program that answers version 2 of the protocol
of docs/protocol.md, in NumPy: module.py [WRONG].

WRONG: scale, mask, heads, dropout, cache, gradient, shape, handle, crash, hang or garbage, to see how each
is told; your own goes in `Module`.
"""

import base64
import json
import os
import signal
import sys
import time
from itertools import count

import numpy as np

WRONG = sys.argv[1] if len(sys.argv) > 1 else ""
HELLO = {
    "protocol": 2,
    "name": "module.py in NumPy",
    "formats": ["float64", "float32"],
    "module": {
        "family": "multihead",
        "options": ["d_in", "groups", "context_length", "bias", "dropout"],
        "out": True,
        "out_bias": True,
        "cache": True,
    },
    "gradients": True,
}


def array(part):
    """An array of a message."""
    data = np.frombuffer(base64.b64decode(part["data"]), part["dtype"])
    return data.reshape(part["shape"])


def written(found):
    """An array as a message has it."""
    data = base64.b64encode(np.ascontiguousarray(found).tobytes()).decode()
    return {"shape": list(found.shape), "dtype": found.dtype.name, "data": data}


class Module:
    """Attention with weights; `call` maps x (B, T, d_in) to (B, T, d_out)."""

    def __init__(self, d_in, d_out, heads, groups, context_length, bias, dropout):
        if d_out % heads or heads % groups:
            raise ValueError(f"d_out {d_out}, {heads} heads and {groups} groups do not divide")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout {dropout} is no probability")
        self.heads, self.groups, self.dim = heads, groups, d_out // heads
        self.d_in, self.room, self.dropout, self.weights = d_in, context_length, dropout, {}

    def split(self, made, heads):
        """(B, T, heads * D) -> (B, heads, T, D)."""
        return made.reshape(*made.shape[:2], heads, self.dim).swapaxes(1, 2)

    def joined(self, parts, groups=None):
        """(B, H, T, D) -> (B, T, H * D), or the sums over the heads of each group."""
        batch, heads, tokens, dim = parts.shape
        groups = groups or heads
        parts = parts.reshape(batch, groups, heads // groups, tokens, dim).sum(2)
        return parts.swapaxes(1, 2).reshape(batch, tokens, groups * dim)

    def context(self, weights, value):
        """What the heads read, side by side."""
        heads = weights @ value
        return self.joined(heads[:, ::-1] if WRONG == "heads" else heads)

    def parts(self, x, seed, past=None):
        """Queries, keys and values (B, H, T, D), the weights, and what is kept of each of these."""
        if x.ndim != 3 or x.shape[2] != self.d_in:
            raise ValueError(f"x is {x.shape}, not (B, T, {self.d_in})")
        before = 0 if past is None else past["length"]
        if before + x.shape[1] > self.room:
            raise ValueError(f"{before + x.shape[1]} tokens, and room for {self.room}")
        heads, w = {"query": self.heads, "key": self.groups, "value": self.groups}, self.weights
        made = {n: self.split(x @ w[n] + w.get(f"{n}_bias", 0), heads[n]) for n in heads}
        end = before + x.shape[1]
        for name in ("key", "value"):
            if past is not None:
                hole = WRONG == "cache" and before > 0
                past[name][:, :, before + hole : end + hole] = made[name]
                made[name], past["length"] = past[name][:, :, :end], end
            made[name] = made[name].repeat(self.heads // self.groups, 1)
        query, key, value = made.values()
        scores = query @ key.swapaxes(-1, -2) * self.scale
        ahead = np.arange(key.shape[2]) - np.arange(x.shape[1])[:, None] - before
        scores = np.where(ahead > (WRONG == "mask"), -np.inf, scores)
        weights = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
        weights /= weights.sum(-1, keepdims=True)
        kept = np.ones_like(weights)
        if self.dropout and (seed is not None or WRONG == "dropout"):
            kept = np.random.default_rng(seed).random(weights.shape) >= self.dropout
            kept = kept / (1 - self.dropout or 1)
        return query, key, value, weights, kept

    @property
    def scale(self):
        """What scores are multiplied by."""
        return (self.heads * self.dim if WRONG == "scale" else self.dim) ** -0.5

    def call(self, x, seed=None, past=None):
        """The output; keys and values are written behind those of the past, if there is one."""
        *_, value, weights, kept = self.parts(x.astype(np.float64), seed, past)
        out = self.context(weights * kept, value) @ self.weights["out"]
        return (out + self.weights["out_bias"]).astype(x.dtype)

    def gradients(self, x, upstream, seed):
        """Of sum(upstream * output) by x and by each of the weights."""
        x, upstream = x.astype(np.float64), upstream.astype(np.float64)
        query, key, value, weights, kept = self.parts(x, seed)
        context = self.context(weights * kept, value)
        by_context = self.split(upstream @ self.weights["out"].T, self.heads)
        by_weight = by_context @ value.swapaxes(-1, -2) * kept
        mean = 0 if WRONG == "gradient" else (weights * by_weight).sum(-1, keepdims=True)
        by_score = weights * (by_weight - mean) * self.scale
        by = {
            "query": self.joined(by_score @ key),
            "key": self.joined(by_score.swapaxes(-1, -2) @ query, self.groups),
            "value": self.joined((weights * kept).swapaxes(-1, -2) @ by_context, self.groups),
        }
        found = {name: np.einsum("btd,btw->dw", x, part) for name, part in by.items()}
        found |= {f"{name}_bias": part.sum((0, 1)) for name, part in by.items()}
        found["out"] = np.einsum("btd,btw->dw", context, upstream)
        found["out_bias"] = upstream.sum((0, 1))
        to_x = sum(part @ self.weights[name].T for name, part in by.items())
        return to_x, {name: found[name] for name in self.weights}


MODULES, STATES, NUMBERS = {}, {}, count(1)


def kept(of, number):
    """What a number stands for; ValueError for one that is not known."""
    if number not in of:
        raise ValueError(f"nothing has the number {number}")
    return of[number]


def build(asked):
    """A module of these sizes."""
    names = ("d_in", "d_out", "heads", "groups", "context_length", "bias", "dropout")
    number = next(NUMBERS)
    MODULES[number] = Module(*(asked[name] for name in names))
    return {"module": number}


def load(asked):
    """Its weights, (in, out) each."""
    module = kept(MODULES, asked["module"])
    module.weights = {n: array(part).astype(np.float64) for n, part in asked["weights"].items()}
    return {}


def call(asked):
    """An answer without a past."""
    if WRONG == "handle":
        MODULES.clear()
    module, x = kept(MODULES, asked["module"]), array(asked["x"])
    drops = "seed" in asked  # some of all valid calls
    if drops and WRONG == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if drops and WRONG == "hang":
        time.sleep(3600)
    if WRONG == "garbage":
        print("I was called")
    output = module.call(x, asked.get("seed"))
    return {"output": written(output.swapaxes(0, 1) if WRONG == "shape" else output)}


def gradients(asked):
    """Derivatives, in the format of x."""
    module, x = kept(MODULES, asked["module"]), array(asked["x"])
    to_x, by = module.gradients(x, array(asked["upstream"]), asked.get("seed"))
    by = {name: written(part.astype(x.dtype)) for name, part in by.items()}
    return {"x": written(to_x.astype(x.dtype)), "weights": by}


def begin(asked):
    """An empty past."""
    module = kept(MODULES, asked["module"])
    shape, number = (asked["batch"], module.groups, module.room + 1, module.dim), next(NUMBERS)
    STATES[number] = module, {"length": 0, "key": np.zeros(shape), "value": np.zeros(shape)}
    return {"state": number}


def step(asked):
    """The next tokens of a sequence."""
    (module, past), x = kept(STATES, asked["state"]), array(asked["x"])
    return {"output": written(module.call(x, past=past))}


def free(asked):
    """What is not asked about any more."""
    for of, kind in ((MODULES, "modules"), (STATES, "states")):
        for number in asked[kind]:
            of.pop(number, None)
    return {}


DOES = {"hello": lambda asked: HELLO}
DOES |= {verb.__name__: verb for verb in (build, load, call, gradients, begin, step, free)}
for line in sys.stdin:
    asked = json.loads(line)
    try:
        found = DOES[asked["do"]](asked)
    except (ValueError, KeyError) as error:
        found = {"error": str(error)}
    print(json.dumps({"id": asked["id"], **found}), flush=True)
