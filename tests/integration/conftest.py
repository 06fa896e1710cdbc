"""An installation as `pip install '.[cpu]'` gives it: without TensorFlow, Keras and the other extras."""

import configparser
import os
import re
import subprocess
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.support.paths import ROOT

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def required(name: str, extra: str = "") -> Iterator[str]:
    """Requirements of a distribution for itself and for one extra."""
    for line in distribution(name).requires or ():
        requirement, _, marker = line.partition(";")
        if "extra ==" not in marker or (extra and f"extra == '{extra}'" in marker.replace('"', "'")):
            match = _NAME.match(requirement)
            assert match
            yield match[0]


def closure(names: Iterator[str]) -> dict[str, Distribution]:
    """Distributions and all that they require, as far as it is installed."""
    distributions: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in distributions:
            continue
        try:
            distributions[key] = distribution(name)
        except PackageNotFoundError:
            # For another system or Python.
            continue
        waiting += required(name)
    return distributions


def link_packages(folder: Path, extra: str) -> None:
    """Fill a folder with links to this package's sources and to what it needs with one extra."""
    for package in closure(required("braintumor", extra)).values():
        tops = {Path(file).parts[0] for file in package.files or ()} - {"..", "__pycache__"}
        for top in tops:
            target = Path(str(package.locate_file(top)))
            if target.exists():
                (folder / top).symlink_to(target)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (folder / "braintumor").mkdir()
    for path in (ROOT / "braintumor").iterdir():
        (folder / "braintumor" / path.name).symlink_to(path)
    for line in setup["options"]["package_dir"].split("\n"):
        module, _, place = line.partition(" = ")
        if place.split("/")[0] != "braintumor" and module.count(".") == 1:
            (folder / "braintumor" / module.partition(".")[2]).symlink_to(ROOT / place)


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the commands of a light installation."""
    root = tmp_path_factory.mktemp("light")
    (root / "packages").mkdir()
    link_packages(root / "packages", "cpu")
    venv.create(root / "venv", symlinks=os.name != "nt", with_pip=False)
    paths = venv.EnvBuilder().ensure_directories(root / "venv")
    library = Path(
        subprocess.run(
            [paths.env_exe, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    )
    (library / "packages.pth").write_text(f"{root / 'packages'}\n")
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for line in setup["options.entry_points"]["console_scripts"].strip().split("\n"):
        command, _, target = line.partition(" = ")
        module, _, function = target.partition(":")
        script = Path(paths.bin_path) / command
        script.write_text(f"#!{paths.env_exe}\nfrom {module} import {function}\n{function}()\n")
        script.chmod(0o755)
    return Path(paths.bin_path)
