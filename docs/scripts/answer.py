"""Draw docs/images/answer.svg: the example scan, and what `bt-infer` prints of it at a terminal.

python docs/scripts/answer.py BUNDLE
"""

import base64
import html
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_SIDE, _LINE, _LETTER, _EDGE = 250, 19, 7.83, 18
_BAR = "█"


def draw(scan: bytes, lines: list[str]) -> str:
    """As SVG, without a font of its own: every viewer has a monospaced one."""
    left = _EDGE + _SIDE + _EDGE
    width = round(left + _LETTER * max(map(len, lines)) + _EDGE)
    height = max(_SIDE, _LINE * len(lines)) + 2 * _EDGE
    picture = base64.b64encode(scan).decode()
    text = [_line(line, left, _EDGE + _LINE * (row + 1) - 5) for row, line in enumerate(lines)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="13"',
            '  font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace">',
            f'<rect width="{width}" height="{height}" rx="8" fill="#16222e"/>',
            f'<image x="{_EDGE}" y="{(height - _SIDE) // 2}" width="{_SIDE}" height="{_SIDE}"',
            f'  href="data:image/png;base64,{picture}"/>',
            *text,
            "</svg>",
            "",
        ]
    )


def _line(line: str, x: int, y: int) -> str:
    colour = "#8fd3a8" if line.startswith("$") or f"{_BAR * 10}" in line else "#dfe7ee"
    length = f' textLength="{_LETTER * len(line):.0f}"' if line else ""
    return f'<text x="{x}" y="{y}" fill="{colour}" xml:space="preserve"{length}>{html.escape(line)}</text>'


def shown() -> list[str]:
    """The command and its output, as the quickstart shows them."""
    quickstart = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    _, _, output = quickstart.partition("<!-- demo -->")[2].partition("$ bt-infer")
    lines = output.partition("```")[0].rstrip().splitlines()
    return ["$ bt-infer examples/scan.png", *lines[1:]]


def main(target: Path = ROOT / "docs" / "images" / "answer.svg") -> None:
    """Draw it."""
    drawn = draw((ROOT / "examples" / "scan.png").read_bytes(), shown())
    target.write_text(drawn, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
