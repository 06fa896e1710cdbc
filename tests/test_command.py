"""All commands report errors alike: one line, the exit code of the contract, a traceback on request."""

import pickle
from typing import Any

import click
import pytest
from click.testing import CliRunner

from braintumor import NOTICE, __version__, errors
from braintumor.command import EPILOG, Command, debug_option, version_option
from braintumor.errors import BraintumorError, UnavailableError, UnsupportedLayerError, UsageError
from braintumor.optional import require


def run(error: BaseException | None, *arguments: str) -> Any:
    @click.command(cls=Command, epilog=EPILOG)
    @debug_option
    @version_option
    def command() -> None:
        if error is not None:
            raise error

    return CliRunner().invoke(command, list(arguments))


@pytest.mark.parametrize("name", errors.__all__)
def test_command_shows_every_error_in_one_line_with_its_exit_code(name: str) -> None:
    kind = getattr(errors, name)
    error = kind("first\nsecond", "GRU") if kind is UnsupportedLayerError else kind("first\nsecond")
    done = run(error)
    shown = str(error).replace("\n", " ")
    assert (done.exit_code, done.stdout, done.stderr) == (kind.exit_code, "", f"Error: {shown}\n")


def test_command_shows_the_remedy_after_the_message() -> None:
    error = UsageError("3 < 4", "use 4")
    assert (str(error), error.message, error.remedy) == ("3 < 4; use 4", "3 < 4", "use 4")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own
    layer = UnsupportedLayerError("top", "GRU", "mask")
    assert str(pickle.loads(pickle.dumps(layer))) == str(layer)  # noqa: S301 - our own


def test_command_shows_parameters_as_options() -> None:
    @click.command(cls=Command, sets={"folder": "bundle"})
    @click.option("--batch-size", "-b", type=int)
    @click.option("--limit", "limit_s", type=float)
    @click.option("--bundle")
    @click.option("--sandbox/--no-sandbox")
    def command(**_: object) -> None:
        remedy = "try `batch_size=8`, `folder='a b'`, `engine='x'`, `new_classes=True`, `sandbox=False`"
        raise UsageError("`limit_s` is short", remedy)

    done = CliRunner().invoke(command, [])
    assert (
        done.stderr
        == "Error: --limit is short; try --batch-size 8, --bundle a b, engine x, new classes, --no-sandbox\n"
    )


def test_command_shows_the_traceback_with_debug() -> None:
    error = BraintumorError("outer")
    error.__cause__ = ValueError("inner")
    done = run(error, "--debug")
    assert done.exit_code == 1
    assert "ValueError: inner" in done.stderr
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("Error: outer\n")


def test_command_exits_with_130_when_interrupted() -> None:
    done = run(KeyboardInterrupt())
    assert done.exit_code == 130
    assert done.stderr.startswith("Error: interrupted")


def test_command_hides_no_other_exception() -> None:
    assert isinstance(run(ZeroDivisionError("defect")).exception, ZeroDivisionError)


def test_command_names_the_extra_of_a_missing_package() -> None:
    done = run(ModuleNotFoundError("No module named 'onnx.helper'", name="onnx.helper"))
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (5, "", 1)
    assert "'onnx'" in done.stderr
    assert "braintumor[cpu]" in done.stderr


def test_command_hides_no_missing_module_of_ours() -> None:
    error = ModuleNotFoundError("No module named 'braintumor.nowhere'", name="braintumor.nowhere")
    assert run(error).exception is error


def test_command_exits_with_0() -> None:
    assert run(None).exit_code == 0
    assert run(None, "--debug").exit_code == 0


def test_command_help_has_exit_codes_and_notice() -> None:
    text = " ".join(run(None, "--help").output.split())
    assert NOTICE in text
    assert "0 success, 1 internal error, 2 usage, 3 some inputs failed, 4 integrity, 5 engine unavailable" in text
    assert __version__ in run(None, "--version").output


def test_require_gives_the_command_that_installs_a_package() -> None:
    assert require("json", extra="x", purpose="testing").dumps(1) == "1"
    with pytest.raises(UnavailableError, match=r"testing needs the package 'no_such'.*pip install 'braintumor\[x\]'"):
        require("no_such", extra="x", purpose="testing")
