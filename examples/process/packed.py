"""Attention for documents that are packed one after the other, as a program that answers version 2 of the
protocol of docs/protocol.md, in NumPy: packed.py [WRONG].

WRONG: all, last or causal, to see how each is told; your own goes in `attention`.
"""

import base64
import json
import sys

import numpy as np

WRONG = sys.argv[1] if len(sys.argv) > 1 else ""
HELLO = {
    "protocol": 2,
    "name": "packed.py in NumPy",
    "formats": ["float64", "float32"],
    "takes": ["documents", "causal", "groups", "lengths"],
    "conventions": {"align": "bottom right"},
}


def array(part):
    """An array of a message."""
    data = np.frombuffer(base64.b64decode(part["data"]), part["dtype"])
    return data.reshape(part["shape"])


def written(found):
    """An array as a message has it."""
    data = base64.b64encode(np.ascontiguousarray(found).tobytes()).decode()
    return {"shape": list(found.shape), "dtype": found.dtype.name, "data": data}


def one(query, key, value, causal):
    """The output (T, H, E) of one document's queries (T, H, D), and its keys and values (S, H, D and E)."""
    scores = np.einsum("thd,shd->hts", query, key) / np.sqrt(query.shape[-1])
    behind = np.arange(len(key)) - np.arange(len(query))[:, None] - (len(key) - len(query))
    scores = np.where(causal & (behind > 0), -np.inf, scores)
    top = np.nan_to_num(scores.max(-1, keepdims=True, initial=-np.inf), neginf=0.0)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    return np.einsum("hts,she->the", weights / np.where(total == 0, 1, total), value)


def attention(query, key, value, starts, starts_of_keys, causal):
    """The output (N, H, E) for queries (N, H, D), keys (M, G, D) and values (M, G, E)."""
    if (
        len(starts) != len(starts_of_keys)
        or starts[-1] != len(query)
        or starts_of_keys[-1] != len(key)
    ):
        raise ValueError("the documents are not those of the queries and keys")
    if (
        (np.diff(starts) < 0).any()
        or (np.diff(starts_of_keys) < 0).any()
        or starts[0]
        or starts_of_keys[0]
    ):
        raise ValueError(f"documents start at {starts} and {starts_of_keys}")
    if query.shape[1] % key.shape[1]:
        raise ValueError(f"{key.shape[1]} heads of keys do not divide {query.shape[1]} of queries")
    share = query.shape[1] // key.shape[1]
    query, key, value = (part.astype(np.float64) for part in (query, key, value))
    key, value = key.repeat(share, 1), value.repeat(share, 1)
    output = np.zeros((*query.shape[:2], value.shape[2]))
    for n in range(len(starts) - 1 - (WRONG == "last")):
        mine, theirs = slice(*starts[n : n + 2]), slice(*starts_of_keys[n : n + 2])
        theirs = slice(None) if WRONG == "all" else theirs
        output[mine] = one(query[mine], key[theirs], value[theirs], causal and WRONG != "causal")
    return output


def answer(message):
    """What is answered to a message, but for its id."""
    if message["do"] == "hello":
        return HELLO
    if message["do"] != "call":
        raise ValueError(f"cannot do {message['do']}")
    names = ("query", "key", "value", "documents", "documents_of_keys")
    parts = [array(message[name]) for name in names]
    output = attention(*parts, message.get("causal", False))
    return {"output": written(output.astype(parts[0].dtype))}


for line in sys.stdin:
    asked = json.loads(line)
    try:
        found = answer(asked)
    except ValueError as error:
        found = {"error": str(error)}
    print(json.dumps({"id": asked["id"], **found}), flush=True)
