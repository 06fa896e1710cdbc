"""What is typed as PATH becomes files: kept as typed, sorted, and never silently nothing."""

import os
import sys
from pathlib import Path

import pytest

from braintumor.errors import UsageError
from braintumor.runtime.inputs import BUNDLE_VARIABLE, choose_bundle, expand


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def test_expand_keeps_files_as_typed(here: Path) -> None:
    touch("b.png", "a.txt")
    typed = ["b.png", "./a.txt", "gone.png", str(here / "b.png"), "b.png"]
    assert expand(typed, []) == typed


@pytest.mark.usefixtures("here")
def test_expand_searches_folders_for_images_of_any_case() -> None:
    touch("f/b.PNG", "f/a.jpg", "f/x/y/c.Tiff", "f/notes.txt", "f/x/d.png.bak", "f/ü b.bmp", "f/e.JPEG")
    expected = ["f/a.jpg", "f/b.PNG", "f/e.JPEG", "f/x/y/c.Tiff", "f/ü b.bmp"]
    assert expand(["f"], []) == [name.replace("/", os.sep) for name in expected]


def test_expand_refuses_a_folder_without_images(here: Path) -> None:
    touch("f/notes.txt")
    with pytest.raises(UsageError, match=r"f holds no image; looked for .*\.png"):
        expand(["f"], [])
    assert here.is_dir()


@pytest.mark.usefixtures("here")
def test_expand_expands_globs() -> None:
    touch("s/2.png", "s/1.png", "s/t/3.png", "s/4.jpg")
    assert expand(["s/*.png"], []) == ["s/1.png", "s/2.png"]
    assert expand(["s/**/*.png"], []) == ["s/1.png", "s/2.png", "s/t/3.png"]
    assert expand(["s/[14].*"], []) == ["s/1.png", "s/4.jpg"]
    with pytest.raises(UsageError, match=r"no file matches 's/\*\.bmp'"):
        expand(["s/*.bmp"], [])


@pytest.mark.usefixtures("here")
def test_expand_takes_a_file_whose_name_looks_like_a_glob() -> None:
    touch("scan[1].png", "scan1.png")
    assert expand(["scan[1].png"], []) == ["scan[1].png"]


def test_expand_reads_a_list_with_any_line_ends() -> None:
    lines = ["\ufeffa b.png\r\n", "\n", "  \n", "ü.png\n", "caf\udce9.png\n", "last.png"]
    assert expand(["x", "-", "y"], lines) == ["x", "a b.png", "ü.png", "caf\udce9.png", "last.png", "y"]


@pytest.mark.parametrize("lines", [[], ["\n", " \r\n"]])
def test_expand_refuses_an_empty_list(lines: list[str]) -> None:
    with pytest.raises(UsageError, match="standard input holds no path"):
        expand(["-"], lines)


@pytest.mark.usefixtures("here")
def test_expand_skips_hidden_files() -> None:
    touch("f/scan.png")
    touch("f/._scan.png")
    assert expand(["f"], []) == [str(Path("f") / "scan.png")]


@pytest.mark.usefixtures("here")
def test_expand_refuses_an_empty_argument() -> None:
    touch("private.png")
    with pytest.raises(UsageError, match="a path is empty"):
        expand([""], [])


def test_expand_keeps_a_name_that_no_disk_takes() -> None:
    assert expand(["n" * 5000], []) == ["n" * 5000]
    assert expand(["a\0b"], []) == ["a\0b"]


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_expand_keeps_names_that_are_not_text(here: Path) -> None:
    (here / "f").mkdir()
    Path(os.fsdecode(bytes(here) + b"/f/caf\xe9.png")).touch()
    (path,) = expand(["f"], [])
    assert os.fsencode(path) == b"f/caf\xe9.png"


def bundle(name: str, at_ns: int) -> Path:
    touch(f"bundles/{name}/bundle.json")
    os.utime(f"bundles/{name}/bundle.json", ns=(at_ns, at_ns))
    return Path("bundles") / name


@pytest.mark.usefixtures("here")
def test_choose_bundle_takes_option_then_variable_then_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle("old", 10**18)
    newest = bundle("new", 2 * 10**18)
    bundle(".being-written", 3 * 10**18)
    assert choose_bundle(None) == newest
    monkeypatch.setenv(BUNDLE_VARIABLE, "bundles/old")
    assert choose_bundle(None) == Path("bundles/old")
    assert choose_bundle("bundles/new") == newest
    with pytest.raises(UsageError, match=r"there is no bundle nowhere; make one with: bt-export --bundle nowhere"):
        choose_bundle("nowhere")
    with pytest.raises(UsageError, match=r"bundles holds the bundles .*new, old"):
        choose_bundle("bundles")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("named", "advice"),
    [
        ("bundles/one/bundle.json", r"is a part of a bundle; .*bundles/one'`$"),
        ("bundles/one/net/model.onnx", r"is a part of a bundle; .*bundles/one'`$"),
        ("bundles/one/net", r"is a part of a bundle; .*bundles/one'`$"),
        ("bundles/tow", r"no bundle bundles/tow; .*bundles/one, bundles/two$"),
        ("net.keras", r"is a Keras model; .*bt-export net.keras$"),
    ],
)
def test_choose_bundle_names_the_right_folder(named: str, advice: str) -> None:
    bundle("one", 10**18)
    bundle("two", 10**18)
    touch("bundles/one/net/model.onnx", "net.keras")
    with pytest.raises(UsageError, match=advice):
        choose_bundle(named)


@pytest.mark.usefixtures("here")
def test_choose_bundle_refuses_without_any_bundle() -> None:
    with pytest.raises(UsageError, match=rf"bt-export.*`bundle` or \${BUNDLE_VARIABLE}"):
        choose_bundle(None)


@pytest.mark.usefixtures("here")
def test_expand_notes_files_that_are_left_out() -> None:
    touch("f/a.png", "f/1.dcm", "f/x/2.dcm", "f/x/3.DCM", "f/notes.txt", "f/README", "f/.hidden.png")
    notes: list[str] = []
    assert expand(["f"], [], notes.append) == [str(Path("f") / "a.png")]
    hidden = str(Path("f") / ".hidden.png")
    assert notes == [
        "f: 5 other files are left out (3 .dcm, 1 .txt, 1 without ending)",
        f"f: hidden images are left out (1, such as {hidden})",
    ]
    notes.clear()
    touch("g/a.png")
    expand(["g", "f/a.png"], [], notes.append)
    assert notes == []


def test_expand_gives_a_remedy_for_other_kinds_of_images(here: Path) -> None:
    touch("f/notes.txt")
    (here / "f" / "1.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    with pytest.raises(UsageError, match=r"f holds no image; .*1\.dcm is a DICOM file; export the slice"):
        expand(["f"], [])


def test_expand_follows_links_and_ends_loops(here: Path) -> None:
    touch("real/a.png", "real/x/b.png", "f/own.png")
    try:
        (here / "f" / "linked").symlink_to(here / "real", target_is_directory=True)
        (here / "real" / "x" / "loop").symlink_to(here / "real", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets us make no links")
    paths = [Path(path).as_posix() for path in expand(["f"], [])]
    assert paths == ["f/linked/a.png", "f/linked/x/b.png", "f/own.png"]
    paths = [Path(path).as_posix() for path in expand(["f/**/*.png"], [])]
    assert paths == ["f/linked/a.png", "f/linked/x/b.png", "f/own.png"]


def test_expand_refuses_a_list_separated_by_nul() -> None:
    with pytest.raises(UsageError, match="NUL"):
        expand(["-"], ["a.png\0b.png\0"])
