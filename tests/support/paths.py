"""Places in the checkout, and what lies beside it."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

BIN = Path(sys.executable).parent
"""Where the installed commands are."""

PRETRAINED = ROOT / "models" / "pretrained"
SCAN = ROOT / "examples" / "scan.png"

SHARED_DATA = ROOT.parent / "shared" / "data"
"""Where the real images are, if they are."""
