"""Faults of files: a seeded one in any bytes, or in the values of a JSON document."""

import json
import random
from typing import Any

from braintumor.errors import BraintumorError

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    -(2**70),
    0.5,
    1e308,
    float("nan"),
    "",
    "x",
    "../x",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "é" * 300,
    [],
    {},
    [[]],
    ["x"],
    {"x": 1},
)


def one_line(error: BraintumorError) -> str:
    """The class of a refusal, which must be one line, and of a kind that says whose fault it is."""
    assert "\n" not in str(error)
    assert type(error) is not BraintumorError
    return type(error).__name__


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A copy with one fault: bits, bytes, blocks, numbers, or its end cut off."""
    changed = bytearray(content)
    kind = rng.choice(["bit", "byte", "ones", "zeros", "cut", "doubled", "left out", "number"])
    at = rng.randrange(len(changed))
    length = rng.choice([1, 8, 64, 512])
    if kind == "bit":
        changed[at] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        changed[at] = rng.randrange(256)
    elif kind in {"ones", "zeros"}:
        changed[at : at + length] = (b"\xff" if kind == "ones" else b"\0") * len(changed[at : at + length])
    elif kind == "cut":
        del changed[max(at, 8) :]
    elif kind == "doubled":
        changed[at:at] = changed[at : at + length]
    elif kind == "left out":
        del changed[at : at + length]
    elif digits := [index for index, value in enumerate(changed) if value in b"0123456789"]:
        at = rng.choice(digits)
        changed[at : at + 1] = rng.choice([b"-1", b"99999999999", b"null", b"[]", b"{}", b"1e400", b'"x"'])
    return bytes(changed)


def json_fault(document: Any, rng: random.Random) -> Any:
    """A copy of a JSON document in which one value, at any depth, is another one, is gone or is there twice."""
    changed = json.loads(json.dumps(document))
    holder = changed
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = rng.choice(keys)
        inner = holder[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.7:
            holder = inner
            continue
        break
    kind = rng.choice(["odd", "odd", "odd", "gone", "twice", "number"])
    if kind == "gone":
        del holder[key]
    elif kind == "twice" and isinstance(holder, list):
        holder.append(inner)
    elif kind == "number" and isinstance(inner, int | float):
        holder[key] = inner * rng.choice([-1, 0, 2, 1e9]) + rng.choice([0, 1])
    else:
        holder[key] = rng.choice(ODD_VALUES)
    return changed
