"""Pages by Jinja2: one self-contained file each, to be read offline and printed, in grey too.

Templates hold the words and the order; `Table` and `Chart` are values that know their own HTML. All other text is
escaped where it is put into a page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from braintumor import NOTICE
from braintumor.optional import require

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["TEMPLATES", "Table", "render", "require_pages"]

TEMPLATES: Final = Path(__file__).with_name("templates")
"""Those of this room; all others may extend, include and import them."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose figures are aligned.

    Attributes:
        head: A name a column.
        rows: Cells, as many as the head has.
        text_columns: So many columns from the left hold words; the others hold figures.
        caption: Shown above it.
        strong: A row to be emphasised, from 0.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    caption: str = ""
    strong: int | None = None

    def __post_init__(self) -> None:
        """Refuse a row that does not fit the head."""
        if any(len(row) != len(self.head) for row in self.rows):
            raise ValueError(f"each row must have {len(self.head)} cells")

    def __html__(self) -> str:
        """Render it, for templates."""
        return render(TEMPLATES / "table.html.j2", table=self)

    _repr_html_ = __html__


def require_pages() -> None:
    """Find out before an hour of measuring that pages can be written.

    Raises:
        UnavailableError: Jinja2 is not installed.
    """
    require("jinja2", extra="bench", purpose="writing an HTML page")


def render(template: Path, **values: object) -> str:
    """Fill a template.

    Args:
        template: Its file; it may use those of its folder and of `TEMPLATES`.
        values: By the names that it uses; one that it lacks raises `jinja2.UndefinedError`.

    Raises:
        UnavailableError: Jinja2 is not installed.
    """
    return _environment(template.parent).get_template(template.name).render(**values)


@lru_cache
def _environment(folder: Path) -> "Environment":
    require_pages()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["notice"] = NOTICE
    return environment
