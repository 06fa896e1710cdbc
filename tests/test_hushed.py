"""TensorFlow's small talk stays away from standard error; nothing else does."""

import os
import subprocess
import sys

import pytest

PLAIN = """
import os, re, sys, threading
from braintumor.hushed import hushed
with hushed(re.compile(b"talk")):
    os.write(2, b"talk of one\\nword of two\\n")
    thread = threading.Thread(target=lambda: print("word of a thread", file=sys.stderr, flush=True))
    thread.start()
    thread.join()
    os.write(2, b"no line's end")
os.write(2, b"\\ntalk afterwards\\n")
"""
REQUIRING = "from braintumor.optional import require; require({!r}, extra='export', purpose='a test')"


def told(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stderr


def test_only_what_begins_as_talk_is_kept_back() -> None:
    assert told(PLAIN).splitlines() == ["word of two", "word of a thread", "no line's end", "talk afterwards"]


def test_a_process_without_a_standard_error_goes_on() -> None:
    code = "import os, re; os.close(2)\nfrom braintumor.hushed import hushed\nwith hushed(re.compile(b'x')): pass"
    assert told(code) == ""


@pytest.mark.parametrize("module", ["tensorflow", "keras"])
def test_tensorflow_comes_without_a_word(module: str) -> None:
    assert told(REQUIRING.format(module), KERAS_BACKEND="tensorflow") == ""


def test_who_wants_to_hear_it_does() -> None:
    assert ".cc:" in told(REQUIRING.format("tensorflow"), TF_CPP_MIN_LOG_LEVEL="0")
