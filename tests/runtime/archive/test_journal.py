"""A journal keeps whole lines, whatever ends its process, and cuts nothing that is not its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from braintumor.errors import IntegrityError, OutputError, UsageError
from braintumor.runtime.archive.journal import SYNC_LINES, Extent, Journal, locked_by_this_process, whole_lines

OPENING = b"line "


def accept(line: bytes, number: int) -> str:
    return "" if line.startswith(b"line %d " % number) else "it is another line"


def lines(count: int) -> list[bytes]:
    return [b"line %d of a journal\n" % number for number in range(1, count + 1)]


def extent(path: Path) -> Extent:
    return whole_lines(path, OPENING, accept)


def test_append_writes_each_line_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, extent(path)) as journal:
        for count, line in enumerate(lines(3), 1):
            journal.append(line)
            assert path.read_bytes() == b"".join(lines(count))
    assert extent(path) == Extent(3, path.stat().st_size, 0)


def test_journal_goes_on_after_a_cut_at_any_byte(tmp_path: Path) -> None:
    path, written = tmp_path / "journal", b"".join(lines(3))
    for size in range(len(written) + 1):
        path.write_bytes(written[:size])
        whole = written[:size].count(b"\n")
        assert extent(path) == Extent(whole, sum(map(len, lines(whole))), size - sum(map(len, lines(whole))))
        with Journal(path, extent(path)) as journal:
            for line in lines(5)[whole:]:
                journal.append(line)
        assert path.read_bytes() == b"".join(lines(5))


@pytest.mark.parametrize("kept", [0, 1, 7])
def test_whole_lines_cuts_zeros_that_a_power_cut_leaves(tmp_path: Path, kept: int) -> None:
    path, written = tmp_path / "journal", lines(SYNC_LINES)
    lost = bytearray(b"".join(written[kept:]))
    lost[:4] = bytes(4)
    path.write_bytes(b"".join(written[:kept]) + lost)
    assert extent(path) == Extent(kept, sum(map(len, written[:kept])), len(lost))
    path.write_bytes(b"".join(written[:kept]) + bytes(5000))
    assert extent(path).lines == kept


def test_whole_lines_refuses_zeros_in_lines_that_were_synced(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    content = bytearray(b"".join(lines(SYNC_LINES + 2)))
    content[25] = 0
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="line 2"):
        extent(path)


@pytest.mark.parametrize("content", [b"notes", b"notes\n", b"line", b"notes\0\0", b"line 1 x\nline 7 y\nline 8 z\n"])
def test_whole_lines_takes_no_other_file_for_its_own(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    if content == b"line":
        # What a cut leaves of a first line.
        assert extent(path) == Extent(0, 0, 4)
    else:
        with pytest.raises(IntegrityError):
            extent(path)
    assert path.read_bytes() == content


def test_append_leaves_whole_lines_on_a_full_disk(tiny_disk: Path) -> None:
    path = tiny_disk / "journal"

    def fill() -> None:
        with Journal(path, extent(path)) as journal:
            for number in range(1, 100_000):
                journal.append(b"line %d %s\n" % (number, b"x" * 1000))

    with pytest.raises(OutputError, match="No space left"):
        fill()
    full = extent(path)
    assert full.lines > 10
    assert full.torn_bytes == 0


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_append_leaves_whole_lines_at_a_file_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from braintumor.errors import OutputError\n"
        "from braintumor.runtime.archive.journal import Extent, Journal\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "journal = Journal(Path(sys.argv[1]), Extent(0, 0, 0))\n"
        "try:\n    for number in range(1, 1000): journal.append(b'line %d %s\\n' % (number, b'x' * 1000))\n"
        "except OutputError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert (extent(path).lines, extent(path).torn_bytes) == (9, 0)


def test_locked_by_this_process_refuses_a_second_process(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    code = (
        "import sys\nfrom pathlib import Path\nfrom braintumor.errors import UsageError\n"
        "from braintumor.runtime.archive.journal import locked_by_this_process\n"
        "try:\n    with locked_by_this_process(Path(sys.argv[1])): print('taken')\n"
        "except UsageError as error: print(error)\n"
    )

    def second() -> str:
        return subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout

    with locked_by_this_process(path):
        assert second().startswith(f"another process is writing {path}")
    assert second() == "taken\n"


def test_journal_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError), locked_by_this_process(tmp_path / "none" / "journal"):
        pass
    with pytest.raises(OutputError):
        Journal(tmp_path / "none" / "journal", Extent(0, 0, 0))


def test_locked_by_this_process_passes_errors_of_the_block_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mine"), locked_by_this_process(tmp_path / "journal"):
        raise UsageError("mine")
    assert os.listdir(tmp_path) == [".journal.lock"]  # noqa: PTH208 - the lock stays
