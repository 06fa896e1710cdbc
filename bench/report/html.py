"""One self-contained HTML page: no script, no font and no picture from elsewhere; made to be printed, in grey too."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor import NOTICE

__all__ = ["Markup", "figure", "markup", "page", "paragraph", "section", "side", "table", "thumbnail"]


class Markup(str):
    """Text that is HTML already; every other text is escaped where it is put into a page."""

    __slots__ = ()


# What is told by colour is told by a word, a shape or a shade as well.
_STYLE: Final = """
:root { --ink: #1a1d21; --soft: #5b636d; --line: #d5d9de; --wash: #f4f5f7; --accent: #0b4f8a }
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body { font: 16px/1.55 "Helvetica Neue", "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; color: var(--ink);
  max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; background: #fff }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 .3rem }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 3rem 0 .6rem; padding-top: .9rem;
  border-top: 2px solid var(--ink) }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem }
p { max-width: 46rem; margin: .6rem 0 }
.soft, figcaption, .about { color: var(--soft); font-size: .875rem }
.verdict { border: 2px solid var(--ink); border-left-width: .7rem; padding: .9rem 1.2rem 1rem; margin: 1.5rem 0;
  break-inside: avoid }
.verdict h3 { font-size: 1.25rem; margin: 0 0 .3rem }
.verdict p { margin: .35rem 0 }
.verdict.refused { border-style: double; border-width: 6px 6px 6px .9rem }
.wide { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.4;
  font-variant-numeric: tabular-nums lining-nums }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem }
th { font-weight: 600; border-bottom: 1.5px solid var(--ink); vertical-align: bottom }
td { border-bottom: 1px solid var(--line); vertical-align: top }
th, td { padding: .32rem 1.3rem .32rem 0; text-align: left }
th.n, td.n { text-align: right; white-space: nowrap }
th:last-child, td:last-child { padding-right: 0 }
tr.strong td { font-weight: 600 }
figure { margin: 1rem 0; break-inside: avoid }
figure svg, figure img { display: block; max-width: 100%; height: auto }
.side { display: flex; flex-wrap: wrap; gap: 1rem 2.2rem; align-items: flex-start }
.side > * { margin: .4rem 0 }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; margin: 1rem 0 }
.card { border: 1px solid var(--line); padding: .7rem; display: flex; gap: .8rem; font-size: .8125rem;
  line-height: 1.45; break-inside: avoid; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
.card img { width: 7rem; height: 7rem; flex: none; background: #000; object-fit: contain }
code { font: .8125rem/1.5 ui-monospace, "Liberation Mono", Consolas, monospace; background: var(--wash);
  padding: .1rem .3rem; overflow-wrap: anywhere }
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--line); font-weight: 600 }
@media print {
  @page { margin: 15mm 14mm }
  body { padding: 0; max-width: none; font-size: 10.5pt }
  h2 { margin-top: 1.6rem; break-after: avoid } h3 { break-after: avoid }
  tr { break-inside: avoid } .wide { overflow: visible }
  .cards { grid-template-columns: repeat(2, 1fr) }
  .side { display: block } .side > * { display: inline-block; vertical-align: top; margin-right: 2rem }
}
"""


def markup(text: str) -> Markup:
    """Any text as HTML: escaped, unless it is `Markup`."""
    return text if isinstance(text, Markup) else Markup(html.escape(text))


def page(title: str, about: str, parts: Iterable[Markup]) -> str:
    """A whole page, with the notice at its top and its end.

    Args:
        title: Its heading.
        about: One line below it: what, when.
        parts: What it holds.
    """
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{markup(title)}</title><style>{_STYLE}</style></head><body>
<h1>{markup(title)}</h1>
<p class="about">{markup(about)}<br>{markup(NOTICE)}</p>
{body}
<footer>{markup(NOTICE)}</footer>
</body></html>
"""


def section(heading: str, parts: Iterable[Markup]) -> Markup:
    """A chapter; empty when it holds nothing."""
    found = [part for part in parts if part]
    return Markup("\n".join((f"<section><h2>{markup(heading)}</h2>", *found, "</section>")) if found else "")


def paragraph(text: str, kind: str = "") -> Markup:
    """A paragraph.

    Args:
        text: What it says.
        kind: "soft" for a remark.
    """
    return Markup(f'<p class="{kind}">{markup(text)}</p>' if kind else f"<p>{markup(text)}</p>")


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1, caption: str = "", strong: int = -1
) -> Markup:
    """A table whose figures stand below each other.

    Args:
        head: A name a column.
        rows: Cells, as many.
        text_columns: So many columns from the left hold words; the others are figures.
        caption: What it shows.
        strong: A row to be emphasised, by its place.
    """
    kinds = ["<{0}>{1}</{0}>" if place < text_columns else '<{0} class="n">{1}</{0}>' for place in range(len(head))]
    top = "".join(kind.format("th", markup(cell)) for kind, cell in zip(kinds, head, strict=True))
    body = "\n".join(
        ('<tr class="strong">{}</tr>' if place == strong else "<tr>{}</tr>").format(
            "".join(kind.format("td", markup(cell)) for kind, cell in zip(kinds, row, strict=True))
        )
        for place, row in enumerate(rows)
    )
    named = f"<caption>{markup(caption)}</caption>" if caption else ""
    return Markup(
        f'<div class="wide"><table>{named}<thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>'
    )


def side(parts: Iterable[Markup]) -> Markup:
    """Parts side by side, as many as the page is wide."""
    return Markup(f'<div class="side">{"".join(parts)}</div>')


def figure(picture: Markup, caption: str = "") -> Markup:
    """A chart or a picture, and what it shows."""
    named = f"<figcaption>{markup(caption)}</figcaption>" if caption else ""
    return Markup(f"<figure>{picture}{named}</figure>")


def thumbnail(pixels: NDArray[np.uint8], side_px: int = 168) -> str:
    """A grey picture as a data: address.

    Args:
        pixels: uint8 [height, width].
        side_px: Of the square that it is brought into.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
