"""Write what the golden files say about each JSON format: docs/schemas/NAME.schema.json, and docs/keys.md.

    python docs/scripts/schemas.py [FOLDER]

tests/golden/NAME.json holds a document of a real run with a type in the place of each value. Alike elements of a list
are merged, so a key that only some of them have cannot be told from one that all have: no key is required.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
FORMATS = {
    "prediction": "`bt-infer`, one for each image",
    "bundle": "`bt-export`, as `bundle.json`",
    "accuracy": "`bt-bench accuracy --json FILE`",
    "latency": "`bt-bench latency --json FILE`",
    "report": "`bt-bench report`, as `report.json`; its `accuracy` and `latency` are the two above",
    "scaling": "`bench/perf/scaling.py --json FILE`",
    "run": "`bt-infer --resume`, beside its results as `results.run.json`",
    "audit": "`bt-infer --audit FILE`, one for each line; `host` to `torn_bytes` of a run, the others of an answer",
}

# Of the small ensemble that the golden files come from.
_MEMBERS = frozenset({"plain", "foreign"})
_TYPES = frozenset({"string", "number", "boolean", "null"})
_HEAD = """\
# All JSON keys

Made from `tests/golden` by `docs/scripts/schemas.py`. `[]` stands for the elements of a list, `*` for each name of a
mapping, such as a class. "null" alone is the type of a key that had no value in the run that the file comes from.

What the keys mean: [Formats](formats.md) and [JSON of bt-bench](bench-json.md).
"""


def document(name: str) -> Any:
    """A document of that format; of predictions, which come as a list, the first."""
    golden = json.loads((GOLDEN / f"{name}.json").read_bytes())
    return _unnamed(golden[0] if isinstance(golden, list) else golden)


def _unnamed(value: Any) -> Any:
    """With "*" in place of the names of the run: its members, its batch sizes."""
    if isinstance(value, dict):
        if value and (set(value) <= _MEMBERS or all(key.isdigit() for key in value)):
            return {"*": _unnamed(next(iter(value.values())))}
        return {key: _unnamed(item) for key, item in value.items()}
    return [_unnamed(item) for item in value] if isinstance(value, list) else value


def schema(value: Any) -> dict[str, Any]:
    """JSON Schema of a golden value. What was null, or a list that was empty, may be anything in another run."""
    if isinstance(value, dict) and set(value) == {"*"}:
        return {"type": ["object", "null"], "additionalProperties": schema(value["*"])}
    if isinstance(value, dict):
        return {"type": ["object", "null"], "properties": {key: schema(item) for key, item in value.items()}}
    if isinstance(value, list):
        return {"type": ["array", "null"], **({"items": schema(value[0])} if value else {})}
    kinds = set(_kinds(value))
    if kinds == {"null"} or not kinds <= _TYPES:
        return {}
    return {"type": sorted(kinds | {"null"})}


def _kinds(value: str) -> list[str]:
    return value.split(" or ")


def paths(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a golden value by its path, with its type."""
    if isinstance(value, dict):
        if path:
            yield path, "object"
        for key, item in value.items():
            yield from paths(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        inner = value[0] if value else "any"
        if isinstance(inner, dict | list):
            yield path, "array"
            yield from _inside(inner, f"{path}[]")
        else:
            yield path, f"array of {inner}"
    else:
        yield path, str(value)


def _inside(inner: Any, path: str) -> Iterator[tuple[str, str]]:
    for found, kind in paths(inner, path):
        if found != path:
            yield found, kind


def write(folder: Path) -> None:
    """Write all files below that folder."""
    (folder / "schemas").mkdir(exist_ok=True)
    page = [_HEAD]
    for name, origin in FORMATS.items():
        golden = document(name)
        page += [f"## {name}", "", f"Written by {origin}.", ""]
        page += ["| key | type |", "| --- | --- |"]
        shown = {key: item for key, item in golden.items() if name != "report" or key not in FORMATS}
        page += [f"| `{path}` | {kind} |" for path, kind in paths(shown)] + [""]
        file = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": f"braintumor.{name}/1",
            **schema(shown),
            "type": "object",
        }
        _write(folder / "schemas" / f"{name}.schema.json", json.dumps(file, sort_keys=True) + "\n")
    _write(folder / "keys.md", "\n".join(page))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
