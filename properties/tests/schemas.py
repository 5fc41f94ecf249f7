"""Whether a value follows a JSON Schema, of the few words that ours use."""

from __future__ import annotations

import re
from typing import Any

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def fits(value: Any, schema: Any, root: Any) -> bool:
    """Whether a value follows a part of the schema `root`; KeyError for a part without a type."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return any(fits(value, other, root) for other in schema["anyOf"])
    if "enum" in schema:
        return any(type(value) is type(one) and value == one for one in schema["enum"])
    kind = schema["type"]
    if kind in ("number", "integer"):
        whole = isinstance(value, int if kind == "integer" else int | float)
        return whole and not isinstance(value, bool) and value >= schema.get("minimum", value)
    if not isinstance(value, TYPES[kind]):
        return False
    if kind == "array":
        number = len(value)
        enough = schema.get("minItems", 0) <= number <= schema.get("maxItems", number)
        return enough and all(fits(item, schema["items"], root) for item in value)
    if kind == "string":
        return re.search(schema.get("pattern", ""), value) is not None
    return kind != "object" or object_fits(value, schema, root)


def object_fits(value: Any, schema: Any, root: Any) -> bool:
    """Whether what is required is there, and each of its fields follows its own schema."""
    known, rest = schema.get("properties", {}), schema.get("additionalProperties", {})
    return set(schema.get("required", [])) <= value.keys() and all(
        fits(item, known[name], root)
        if name in known
        else rest == {} or (bool(rest) and fits(item, rest, root))
        for name, item in value.items()
    )
