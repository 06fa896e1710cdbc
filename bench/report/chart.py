"""The engine of all charts: matplotlib in the project's style, as SVG for a page or as PNG for a file.

Lengths are in CSS pixels: a point of matplotlib's is one.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from PIL import Image

from braintumor.optional import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ACCENT", "CONTRAST", "INK", "SOFT", "WASH", "Chart", "chart_style", "new_figure", "require_drawing"]

INK: Final = "#1a1d21"
SOFT: Final = "#5b636d"
_LINE: Final = "#d5d9de"
WASH: Final = "#f4f5f7"
ACCENT: Final = "#0b4f8a"
"""Dark blue, for the first series."""
CONTRAST: Final = "#d55e00"
"""Vermilion of Okabe & Ito's palette, for the second series; further ones are theirs, too."""

_POINTS_PER_INCH: Final = 72
_PNG_SCALE: Final = 2

_STYLE: Final[Mapping[str, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 11,
    "axes.prop_cycle": f"cycler('color', {[ACCENT, CONTRAST, '#009e73', '#cc79a7']!r})",
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout on every machine
    "font.size": 12,
    "grid.color": _LINE,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "lines.markeredgewidth": 1.6,
    "lines.markersize": 9,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a bundle's name is a dollar sign
    "xtick.color": SOFT,
    "xtick.labelsize": 11,
    "xtick.major.pad": 5,
    "xtick.major.size": 0,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 12,
    "ytick.major.pad": 8,
    "ytick.major.size": 0,
}


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """A drawn chart.

    Attributes:
        figure: matplotlib's.
        alt: What it shows, for those who do not see it; no two charts of a page have the same.
    """

    figure: "Figure"
    alt: str

    def __post_init__(self) -> None:
        """Lay it out once: a second time would move things by a hair."""
        with _any_character():
            self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    def svg(self) -> str:
        """Make an SVG element for a page: text as text, and the same bytes for the same chart."""
        return _inline(self._saved("svg", {"svg.hashsalt": self.alt}), self.alt)

    def png(self) -> bytes:
        """Make a PNG of twice as many pixels, with a palette: a third of the bytes."""
        dpi = _PNG_SCALE * _POINTS_PER_INCH
        packed = io.BytesIO()
        with Image.open(io.BytesIO(self._saved("png", {"savefig.dpi": dpi}))) as image:
            palette = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        palette.save(packed, format="png", optimize=True, dpi=(_PNG_SCALE * 96, _PNG_SCALE * 96))
        return packed.getvalue()

    def _saved(self, kind: str, style: Mapping[str, Any]) -> bytes:
        stream = io.BytesIO()
        with chart_style(style), _any_character():
            self.figure.savefig(stream, format=kind)
        return stream.getvalue()

    __html__ = svg
    _repr_png_ = png


def require_drawing() -> None:
    """Find out before an hour of measuring that charts can be drawn.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    require("matplotlib.figure", extra="bench", purpose="drawing charts")


@contextlib.contextmanager
def chart_style(style: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Use the project's style while a chart is made, whatever the user's matplotlibrc says; also as a decorator."""
    require_drawing()
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**_STYLE, **(style or {})})
        yield


@contextlib.contextmanager
def _any_character() -> Iterator[None]:
    """Take names in any script: what the font lacks is drawn by the reader's fonts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure, without pyplot: nothing global, no window system. Sizes in CSS pixels."""
    from matplotlib.figure import Figure

    size = (width / _POINTS_PER_INCH, height / _POINTS_PER_INCH)
    return Figure(figsize=size, dpi=_POINTS_PER_INCH, layout="constrained")


def _inline(document: bytes, alt: str) -> str:
    """Make an element for a page of matplotlib's document, without its metadata, addresses and unused names."""
    root = ET.fromstring(document)  # noqa: S314 - written by matplotlib just now
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.text, element.tail = (element.text or "").strip() or None, None
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        if element.tag == "text":
            # The page's own font, and no "rotate(-0 …)".
            element.attrib["style"] = re.sub(r"font-family: [^;]*; ?", "", element.attrib["style"])
            if "rotate(-0 " in element.attrib.get("transform", ""):
                del element.attrib["transform"]
        if "d" in element.attrib:
            element.attrib["d"] = " ".join(element.attrib["d"].split())
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in {"metadata", "style"}]:
            parent.remove(child)
    body = ET.tostring(root, encoding="unicode")
    used = set(re.findall(r'(?:href="#|url\(#)([\w.-]+)', body))
    for element in root.iter():
        if element.attrib.get("id") not in used:
            element.attrib.pop("id", None)
    size = {name: root.attrib[name].removesuffix("pt") for name in ("width", "height")}
    root.attrib = {
        **size, "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": alt,
        "style": "stroke-linejoin: round; stroke-linecap: butt",
    }  # fmt: skip
    title = ET.Element("title")
    title.text = alt
    root.insert(0, title)
    return ET.tostring(root, encoding="unicode")
