"""The same promise about images, searched for by coverage: atheris keeps the files that reach new code.

    pip install atheris
    python -m tests.fuzz.guided [-max_total_time=600] [FOLDER]

FOLDER keeps what was found interesting, and is where the next run goes on. The options are libFuzzer's. The Python of
Pillow and of `braintumor.runtime.image` is instrumented. A file that raises, or takes more than 5 s or 600 MB, ends
the run and is written beside it.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "braintumor.runtime.image"]):
    from tests.fuzz import images

_LIMITS = ("-timeout=5", "-rss_limit_mb=600", "-max_len=65536")


def main() -> None:
    """Run until the time is over or a file breaks the promise."""
    options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    folders = sys.argv[1 + len(options) :]
    with tempfile.TemporaryDirectory(prefix="braintumor-fuzz-") as seeds:
        for kind in images.KINDS:
            for number, data in enumerate(images.seeds(kind)):
                (Path(seeds) / f"{kind}-{number}").write_bytes(data)
        atheris.Setup([sys.argv[0], *_LIMITS, *options, *folders, seeds], lambda data: images.outcome(bytes(data)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
