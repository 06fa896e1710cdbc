"""The cache builds once, believes nothing that it has not hashed, and never shares."""

import errno
import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from braintumor.cache import CACHE_VARIABLE, Cache, cache_folder, content_key, sweep_cache, tell_unsafe_cache
from braintumor.errors import OutputError, UnsafeCacheError

CACHE = Cache("kind")

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="giving files away needs root")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def builder(built: list[Path], content: str = "content") -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "file").write_text(content)

    return build


def test_build_fills_an_entry_once(own: Path) -> None:
    built: list[Path] = []
    first = CACHE.build("k" * 40, builder(built))
    assert (first / "file").read_text() == "content"
    assert CACHE.build("k" * 40, builder(built)) == first == own / "kind" / ("k" * 40)
    assert len(built) == 1
    assert [path.name for path in (own / "kind").iterdir()] == ["k" * 40]


def test_build_separates_keys_and_kinds(own: Path) -> None:
    built: list[Path] = []
    assert len({Cache(kind).build(key, builder(built)) for kind in ("x", "y") for key in ("a" * 40, "b" * 40)}) == 4
    assert len(built) == 4
    assert own.is_dir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "file").write_text("contenT"),
        lambda entry: (entry / "file").unlink(),
        lambda entry: (entry / "entry.json").unlink(),
        lambda entry: (entry / "entry.json").write_text("{"),
        lambda entry: (entry / "entry.json").write_text("{}"),
        lambda entry: (entry / "entry.json").write_text("[1]"),
        lambda entry: (entry / "entry.json").write_text("[" * 100_000),
    ],
    ids=["changed", "file-gone", "list-gone", "list-cut", "list-empty", "list-other", "list-nested"],
)
def test_build_replaces_a_damaged_entry(own: Path, damage: Callable[[Path], object]) -> None:
    built: list[Path] = []
    entry = CACHE.build("key", builder(built))
    damage(entry)
    assert CACHE.build("key", builder(built)) == entry
    assert len(built) == 2
    assert (entry / "file").read_text() == "content"
    assert json.loads((entry / "entry.json").read_text()).keys() == {"file"}
    assert len(list((own / "kind").iterdir())) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_build_leaves_nothing_when_it_fails(own: Path, error: type[BaseException]) -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        raise error

    with pytest.raises(error):
        CACHE.build("key", build)
    assert list((own / "kind").iterdir()) == []


def test_build_uses_the_entry_of_a_faster_process(own: Path) -> None:
    def build(folder: Path) -> None:
        CACHE.build("key", builder([], "theirs"))
        (folder / "file").write_text("ours")

    assert (CACHE.build("key", build) / "file").read_text() == "theirs"
    assert len(list((own / "kind").iterdir())) == 1


RACE = """
import pathlib, sys, time
from braintumor.cache import Cache
CACHE = Cache("kind")
def build(folder):
    pathlib.Path(sys.argv[1], sys.argv[2]).touch()
    # Both are inside before either goes on.
    while len(list(pathlib.Path(sys.argv[1]).iterdir())) < 2:
        time.sleep(0.005)
    (folder / "file").write_text("content")
print(CACHE.build("key", build).joinpath("file").read_text())
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_build_succeeds_in_two_processes_at_once(own: Path, tmp_path: Path, damaged: bool) -> None:
    if damaged:
        (CACHE.build("key", builder([])) / "file").write_text("damage")
    (tmp_path / "meeting").mkdir()
    command = [sys.executable, "-c", RACE, str(tmp_path / "meeting")]
    both = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    assert [process.communicate(timeout=60)[0] for process in both] == ["content\n", "content\n"]
    assert [path.name for path in (own / "kind").iterdir()] == ["key"]


def test_build_removes_remains_older_than_a_day(own: Path) -> None:
    old, new = own / "kind" / ".abandoned", own / "kind" / ".being-built"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "half").touch()
    os.utime(old, (0, 0))
    CACHE.build("key", builder([]))
    assert sorted(path.name for path in (own / "kind").iterdir()) == [".being-built", "key"]


KILLED = """
import sys, time
from braintumor.cache import Cache
CACHE = Cache("kind")
def build(folder):
    (folder / "half").touch()
    print("building", flush=True)
    time.sleep(100)
CACHE.build("theirs", build)
"""


def half_built(own: Path) -> list[str]:
    return sorted(path.name for path in (own / "kind").iterdir() if path.name.startswith(".theirs"))


@pytest.mark.parametrize(
    "sweeping", [lambda: CACHE.build(secrets.token_hex(4), builder([])), sweep_cache], ids=["build", "start"]
)
def test_sweep_cache_and_build_remove_remains_of_ended_processes_only(
    own: Path, sweeping: Callable[[], object]
) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        sweeping()
        folder, lock = half_built(own)
        assert lock == f"{folder}.lock"
        process.kill()
        process.wait(timeout=30)
    assert half_built(own) == [folder, lock]
    sweeping()
    assert half_built(own) == []


@posix
def test_build_makes_the_cache_private(own: Path) -> None:
    (own / "kind").mkdir(parents=True, mode=0o777)
    CACHE.build("key", builder([]))
    assert stat.S_IMODE((own / "kind").stat().st_mode) == 0o700
    assert stat.S_IMODE((own / "kind" / "key").stat().st_mode) == 0o700


@root
def test_build_refuses_a_cache_of_another_user(own: Path) -> None:
    CACHE.build("key", builder([]))
    os.chown(own / "kind", 12345, -1)
    with pytest.raises(OutputError, match=f"belongs to user id 12345.*{CACHE_VARIABLE}=DIR"):
        CACHE.build("key", builder([]))


@pytest.mark.usefixtures("own")
def test_get_compares_whole_hashes() -> None:
    manifest = CACHE.build("key", builder([])) / "entry.json"
    hashes = json.loads(manifest.read_bytes())
    last = hashes["file"][-1]
    manifest.write_text(json.dumps({"file": hashes["file"][:-1] + ("1" if last == "0" else "0")}))
    assert CACHE.get("key") is None


@posix
@pytest.mark.parametrize("what", ["kind", "kind/key"])
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_cache_refuses_folders_that_others_may_write(own: Path, what: str, mode: int) -> None:
    CACHE.build("key", builder([]))
    (own / what).chmod(mode)
    for use in (lambda: CACHE.get("key"), lambda: CACHE.build("key", builder([]))):
        with pytest.raises(UnsafeCacheError, match=rf"others may write into .*{what} \(mode {mode:o}\)"):
            use()
    (own / what).chmod(0o700)
    assert CACHE.get("key") == own / "kind" / "key"


@root
@pytest.mark.parametrize("what", ["kind", "kind/key", "kind/key/file"])
def test_cache_refuses_entries_of_another_user(own: Path, what: str) -> None:
    CACHE.build("key", builder([]))
    os.chown(own / what, 12345, -1)
    for use in (lambda: CACHE.get("key"), lambda: CACHE.build("key", builder([]))):
        with pytest.raises(UnsafeCacheError, match="belongs to user id 12345"):
            use()


def test_tell_unsafe_cache_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        tell_unsafe_cache(UnsafeCacheError("others may write into the cache /here"))
        tell_unsafe_cache(OutputError("the cache /there cannot be written"))
    assert [record.message for record in caplog.records] == ["others may write into the cache /here"]


def test_build_json_gives_the_reason_when_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    lost: list[OutputError] = []
    assert CACHE.build_json("key", lambda: {"a": 1}, on_lost=lost.append) == {"a": 1}
    assert [type(error) for error in lost] == [OutputError]


def test_build_raises_output_error_where_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match=f"cannot be written.*{CACHE_VARIABLE}=DIR"):
        CACHE.build("key", builder([]))


@posix
@pytest.mark.usefixtures("own")
def test_build_raises_output_error_when_the_disk_fills_up() -> None:
    def build(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", folder)

    with pytest.raises(OutputError, match=f"No space left.*export {CACHE_VARIABLE}=DIR"):
        CACHE.build("key", build)


def test_cache_folder_needs_a_home_or_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (CACHE_VARIABLE, "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user id without a name
    with pytest.raises(OutputError, match=f"no home folder.*{CACHE_VARIABLE}=DIR"):
        CACHE.build("key", builder([]))


@posix
def test_cache_folder_is_that_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/braintumor")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/braintumor")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path("/home/me/Library/Caches/braintumor")


def test_content_key_depends_on_all_parts_and_not_on_their_order() -> None:
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    assert len({content_key({"a": 1}), content_key({"a": 2}), content_key({"b": 1}), content_key({})}) == 4
