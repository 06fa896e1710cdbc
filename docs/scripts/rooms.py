"""Draw docs/rooms.svg from the imports that the code really has.

    make .typecheck && python docs/scripts/rooms.py [TREE [TARGET]]

The tree of `make .typecheck` lies as a user imports it: grimp, like mypy, cannot follow setup.cfg's mapping of root
folders to sub-packages.
"""

import html
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]

# Top to bottom: nothing imports what is drawn above it.
FOLDERS: Mapping[str, str] = {
    "training": "bt-data, bt-train: from images to .keras files",
    "export": "bt-export, bt-engine: from .keras files to a bundle",
    "bench": "bt-bench: accuracy, latency, reports",
    "runtime": "bt-infer, bt-doctor: from a bundle and images to predictions",
    "models": "backbones, labels, the weights that ship",
    "braintumor": "errors, files, cache, optional packages",
}

_LEFT, _TOP, _WIDTH, _HEIGHT, _GAP = 12, 12, 560, 62, 14
_STEP = 26  # between two arcs

Edges = Mapping[str, set[str]]


def imports(tree: Path) -> tuple[Edges, Mapping[str, Edges]]:
    """Folder → folders that it imports; and in each folder, sub-package → sub-packages that it imports."""
    sys.path.insert(0, str(tree))
    graph = grimp.build_graph("braintumor", cache_dir=None)
    folders: dict[str, set[str]] = {name: set() for name in FOLDERS}
    rooms: dict[str, dict[str, set[str]]] = {name: {} for name in FOLDERS}
    for module in graph.modules - {"braintumor"}:
        folder, room = _place(graph, module)
        if room:
            rooms[folder].setdefault(room, set())
        for imported in graph.find_modules_directly_imported_by(module) - {"braintumor"}:
            other, other_room = _place(graph, imported)
            if other != folder:
                folders[folder].add(other)
            elif room and other_room and room != other_room:
                rooms[folder].setdefault(room, set()).add(other_room)
    return folders, rooms


def _place(graph: grimp.ImportGraph, module: str) -> tuple[str, str]:
    """The folder of a module, and the sub-package in it; "" for a module of the folder itself."""
    parts = module.split(".")[1:]
    folder = parts.pop(0) if parts[0] in FOLDERS else "braintumor"
    package = ".".join(["braintumor", *([] if folder == "braintumor" else [folder]), *parts[:1]])
    return folder, parts[0] if parts and graph.find_children(package) else ""


def levels(edges: Edges) -> list[list[str]]:
    """Rooms from the lowest to the highest: each imports from lower levels, or from its own in a circle."""
    reached = {name: _reach(edges, name) for name in edges}

    def level(name: str) -> int:
        return 1 + max((level(low) for low in reached[name] if name not in reached[low]), default=-1)

    ranked = defaultdict(list)
    for name in sorted(edges):
        ranked[level(name)].append(name)
    return [ranked[rank] for rank in sorted(ranked)]


def _reach(edges: Edges, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = edges.get(waiting.pop(), set()) - seen
        seen |= new
        waiting.extend(new)
    return seen


def draw(folders: Edges, rooms: Mapping[str, Edges]) -> str:
    """The picture as SVG: a box a folder, an arc for each folder that it imports."""
    names = list(FOLDERS)
    arcs = [(names.index(a), names.index(b)) for a in names for b in sorted(folders[a], key=names.index)]
    width = _LEFT + _WIDTH + _STEP * (max(abs(b - a) for a, b in arcs) + 2)
    height = _TOP + len(names) * (_HEIGHT + _GAP)
    return "\n".join([*_head(width, height), *_boxes(rooms), *(_arc(a, b) for a, b in arcs), "</svg>", ""])


def _head(width: int, height: int) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="14">'
    )
    yield "<title>Which room imports which: each box imports only boxes below it</title>"
    yield "<style>.box { fill: #e8eef4; stroke: #30475e; } .name { fill: #16222e; font-weight: bold; }"
    yield ".note { fill: #44566a; font-size: 12px; }"
    yield ".arc { fill: none; stroke: #30475e; marker-end: url(#tip); }</style>"
    yield '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5"'
    yield ' markerWidth="7" markerHeight="7" orient="auto">'
    yield '<path d="M0 0 L10 5 L0 10 z" fill="#30475e"/></marker></defs>'
    yield f'<rect width="{width}" height="{height}" fill="#ffffff"/>'


def _boxes(rooms: Mapping[str, Edges]) -> Iterator[str]:
    for row, (name, note) in enumerate(FOLDERS.items()):
        y = _TOP + row * (_HEIGHT + _GAP)
        inside = " ← ".join(" · ".join(level) for level in levels(rooms[name]))
        yield f'<rect class="box" x="{_LEFT}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        yield f'<text class="name" x="{_LEFT + 14}" y="{y + 24}">{name}/</text>'
        yield f'<text class="note" x="{_LEFT + 120}" y="{y + 24}">{html.escape(note)}</text>'
        yield f'<text class="note" x="{_LEFT + 14}" y="{y + 46}">{html.escape(inside)}</text>'


def _arc(start: int, end: int) -> str:
    """An arc on the right side; the further it goes, the further out it lies and the lower it arrives."""
    x, out = _LEFT + _WIDTH, _LEFT + _WIDTH + _STEP * (end - start)
    leave = _TOP + start * (_HEIGHT + _GAP) + _HEIGHT - 8 * (end - start)
    arrive = _TOP + end * (_HEIGHT + _GAP) + 8 * (end - start)
    return f'<path class="arc" d="M{x} {leave} C{out + 14} {leave}, {out + 14} {arrive}, {x + 1} {arrive}"/>'


def main(tree: Path = ROOT / ".typecheck", target: Path = ROOT / "docs" / "rooms.svg") -> None:
    """Draw the rooms of the package below that folder."""
    target.write_text(draw(*imports(tree)), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
