"""Attention as a program that answers the protocol of docs/protocol.md, in NumPy: attention.py [WRONG].

WRONG: scale, mask, groups, crash, hang or garbage, to see how each is told; your own goes in `attention`.
"""

import base64
import json
import os
import signal
import sys
import time

import numpy as np

WRONG = sys.argv[1] if len(sys.argv) > 1 else ""
TAKES = "mask bias padding causal window scale cap groups lengths lse"
CONVENTIONS = {"mask": "attend", "padding": "attend", "align": "bottom right", "empty": "zeros"}
HELLO = {
    "protocol": 1,
    "name": "attention.py in NumPy",
    "formats": ["float64", "float32", "float16"],
    "takes": TAKES.split(),
    "conventions": CONVENTIONS,
    "gradients": False,
}


def array(part):
    """An array of a message."""
    data = np.frombuffer(base64.b64decode(part["data"]), part["dtype"])
    return data.reshape(part["shape"])


def written(found):
    """An array as a message has it."""
    data = base64.b64encode(np.ascontiguousarray(found).tobytes()).decode()
    return {"shape": list(found.shape), "dtype": found.dtype.name, "data": data}


def require(query, key, value, told):
    """ValueError for what has no right answer."""
    (batch, heads, queries, width), (items, groups, keys, depth) = query.shape, key.shape
    if items != batch or depth != width or value.shape[:3] != key.shape[:3]:
        raise ValueError("query, key and value do not fit each other")
    if groups == 0 or heads % groups:
        raise ValueError(f"{groups} heads of keys do not divide {heads} of queries")
    sizes = {"mask": (batch, heads, queries, keys), "padding": (batch, keys)}
    sizes["bias"] = sizes["mask"]
    for name, size in sizes.items():
        if name in told and told[name].shape != size:
            raise ValueError(f"{name} is {told[name].shape}, not {size}")
        if name in told and name != "bias" and told[name].dtype != bool:
            raise ValueError(f"{name} holds no booleans")


def hidden(query, key, told):
    """(B, H, T, S), true where a key is not seen."""
    queries, keys = query.shape[2], key.shape[2]
    start = 0 if WRONG == "mask" else keys - queries  # the last query stands at the last key
    ahead = np.arange(keys) - np.arange(queries)[:, None] - start
    out = np.zeros((*query.shape[:3], keys), bool)
    if told.get("causal"):
        out |= ahead > 0
    for limit, beyond in zip(told.get("window", ()), (-ahead, ahead), strict=False):
        out |= (beyond > limit) & (limit >= 0)
    if "mask" in told:
        out |= ~told["mask"]
    if "padding" in told:
        out |= ~told["padding"][:, None, None]
    return out


def attention(query, key, value, told):
    """The output (B, H, T, E) and the log-sum-exp (B, H, T), in float64."""
    require(query, key, value, told)
    share = query.shape[1] // key.shape[1]
    q, k, v = (part.astype(np.float64) for part in (query, key, value))
    if WRONG == "groups":
        k, v = np.tile(k, (1, share, 1, 1)), np.tile(v, (1, share, 1, 1))
    else:
        k, v = k.repeat(share, 1), v.repeat(share, 1)
    scale = float(told.get("scale", 1.0 if WRONG == "scale" else q.shape[-1] ** -0.5))
    scores = q @ k.swapaxes(-1, -2) * scale
    if cap := float(told.get("cap", 0.0)):  # numbers that JSON lacks are strings: "NaN"
        scores = cap * np.tanh(scores / cap)
    scores = np.where(hidden(q, k, told), -np.inf, scores + told.get("bias", 0.0))
    top = np.nan_to_num(scores.max(-1, keepdims=True, initial=-np.inf), neginf=0.0)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        return weights / np.where(total == 0, 1, total) @ v, (np.log(total) + top)[..., 0]


def answer(message):
    """What is answered to a message, but for its id."""
    if message["do"] == "hello":
        return HELLO
    if message["do"] != "call":
        raise ValueError(f"cannot do {message['do']}")
    told = {n: array(p) if isinstance(p, dict) else p for n, p in message.items()}
    query, key, value = (told.pop(name) for name in ("query", "key", "value"))
    some = told.get("cap") and key.shape[2] > 3  # of all valid calls
    if some and WRONG == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if some and WRONG == "hang":
        time.sleep(3600)
    if WRONG == "garbage":
        print("I was called")
    output, lse = attention(query, key, value, told)
    found = {"output": written(output.astype(query.dtype))}
    return found | ({"lse": written(lse.astype(query.dtype))} if told.get("lse") else {})


for line in sys.stdin:
    asked = json.loads(line)
    try:
        found = answer(asked)
    except ValueError as error:
        found = {"error": str(error)}
    print(json.dumps({"id": asked["id"], **found}), flush=True)
