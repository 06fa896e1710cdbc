"""Defaults that command lines repeat, so that --help is fast, are those of the code."""

import inspect
from collections.abc import Callable
from typing import Any

import click
import pytest

from braintumor.bench.accuracy.cli import accuracy
from braintumor.bench.accuracy.gate import DEFAULT_MARGIN_POINTS
from braintumor.bench.accuracy.options import AccuracyOptions
from braintumor.bench.data.labelled import DATA_VARIABLE
from braintumor.bench.options import data_option, margin_option
from braintumor.export.cli import export
from braintumor.export.options import CascadeOptions
from braintumor.runtime.cli import infer
from braintumor.runtime.ensemble import DEFAULT_BATCH_SIZE
from braintumor.runtime.image.sandbox import IMAGE_MB, IMAGE_SECONDS


def option(command: click.Command, name: str) -> click.Option:
    return next(item for item in command.params if isinstance(item, click.Option) and item.name == name)


def declared(decorator: Callable[[Any], Any], name: str) -> click.Option:
    return option(click.command()(decorator(lambda: None)), name)


def test_margin_option_has_the_default_of_the_gate() -> None:
    assert declared(margin_option, "margin").default == DEFAULT_MARGIN_POINTS


def test_data_option_names_the_variable_of_labelled_images() -> None:
    assert f"${DATA_VARIABLE};" in str(declared(data_option, "data").help)


@pytest.mark.parametrize(
    ("command", "default"),
    [
        (infer, DEFAULT_BATCH_SIZE),
        (accuracy, inspect.signature(AccuracyOptions).parameters["batch_size"].default),
    ],
)
def test_batch_size_option_has_the_default_of_the_code(command: click.Command, default: int) -> None:
    assert option(command, "batch_size").default == default


def test_limits_of_images_have_the_defaults_of_the_code() -> None:
    assert option(infer, "image_seconds").default == IMAGE_SECONDS
    assert option(infer, "image_mb").default == IMAGE_MB


def test_risk_option_shows_the_default_of_a_cascade() -> None:
    default = inspect.signature(CascadeOptions).parameters["risk"].default
    assert f"[default: {default}]" in str(option(export, "risk").help)
