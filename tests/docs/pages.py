"""The pages of the documentation, and the blocks of commands and code in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. `reason` says why a test cannot run it; None where it runs."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def commands(self) -> list[str]:
        """Of a block of shell commands, without comments."""
        lines = [re.sub(r"(^|\s+)#.*", "", line).strip() for line in self.text.splitlines()]
        return [line for line in lines if line]


def blocks(*languages: str) -> Iterator[Block]:
    """The blocks of these languages in README and all pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            if match["language"] in languages:
                line = text.count("\n", 0, match.start()) + 1
                yield Block(page, line, match["language"], match["text"], match["reason"])
