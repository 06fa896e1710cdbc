"""The wheel holds the whole package under one name, and nothing else."""

import configparser
import email
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def configuration() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources alone, so that nothing that an earlier build left can get in."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    for folder in ("braintumor", "bench", "export", "models", "runtime", "training"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(work), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = work.glob("*.whl")
    return built


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_wheel_installs_one_top_level_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("top_level.txt")]
        assert archive.read(name).decode().split() == ["braintumor"]
    assert {name.split("/")[0].split("-")[0] for name in contents(wheel)} == {"braintumor"}


def test_wheel_holds_every_file_and_nothing_else(wheel: Path) -> None:
    expected = set()
    for folder in ("braintumor", "bench", "export", "models", "runtime", "training"):
        prefix = "braintumor" if folder == "braintumor" else f"braintumor/{folder}"
        for path in (ROOT / folder).rglob("*"):
            inside = path.relative_to(ROOT / folder).as_posix()
            if path.is_file() and "__pycache__" not in path.parts:
                expected.add(f"{prefix}/{inside}")
    files = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert files == expected
    assert "braintumor/py.typed" in files


def test_setup_cfg_lists_every_package_folder(configuration: configparser.ConfigParser) -> None:
    packages = set(lines(configuration["options"]["packages"]))
    on_disk = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for path in (ROOT / "braintumor").rglob("__init__.py")
    }
    for folder in ("bench", "export", "models", "runtime", "training"):
        for path in (ROOT / folder).rglob("__init__.py"):
            on_disk.add("braintumor." + path.parent.relative_to(ROOT).as_posix().replace("/", "."))
    assert packages == on_disk
    mapped = dict(line.split(" = ") for line in lines(configuration["options"]["package_dir"]))
    assert set(mapped) == on_disk
    assert all((ROOT / folder / "__init__.py").is_file() for folder in mapped.values())


def test_wheel_metadata_has_extras_commands_and_licence(
    wheel: Path, configuration: configparser.ConfigParser
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name)
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        commands = archive.read(f"{info}/entry_points.txt").decode()
    assert set(metadata.get_all("Provides-Extra", [])) == set(configuration["options.extras_require"])
    assert metadata["Requires-Python"] == ">=3.11"
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.split(">")[0] for line in required} == {"click", "msgspec", "numpy", "pillow", "rich"}
    assert "bt-infer = braintumor.runtime.cli:main" in commands
    assert "bt-export = braintumor.export.cli:main" in commands
    assert any(name.endswith("LICENSE") for name in contents(wheel))


def test_wheel_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    assert not {"export", "models", "runtime", "bench", "training"} & {path.name for path in target.iterdir()}
    code = (
        "import pathlib, sys, braintumor, braintumor.runtime.engines.onnxruntime as engine\n"
        "for module in (braintumor, engine):\n"
        "    assert pathlib.Path(module.__file__).is_relative_to(sys.argv[1]), module.__file__\n"
        "from braintumor.export.pipeline import default_models\n"
        "assert all(path.is_relative_to(sys.argv[1]) for path in default_models())\n"
        "print(braintumor.Ensemble.__name__)"
    )
    # The target stands before the editable installation that the tests run from.
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)],
        env=os.environ | {"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Ensemble\n", "")
