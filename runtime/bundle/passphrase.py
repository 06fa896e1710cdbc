"""Asking for the passphrase of an encrypted private key."""

import os
import sys
from pathlib import Path

import click

from braintumor.runtime.bundle.sign import PASSPHRASE_VARIABLE, SigningKey, is_encrypted, read_signing_key

__all__ = ["read_key_with_passphrase"]


def read_key_with_passphrase(path: Path) -> SigningKey:
    """A private key; where it is encrypted, with the passphrase of the environment, or typed at the terminal.

    Raises:
        UsageError, UnavailableError: As `read_signing_key`.
    """
    passphrase = os.environ.get(PASSPHRASE_VARIABLE)
    if passphrase is None and is_encrypted(path) and sys.stdin.isatty():
        passphrase = click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    return read_signing_key(path, passphrase)
