"""Which files of a watched folder are handed out, and how a watch ends."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from braintumor.errors import UsageError
from braintumor.runtime.archive.watch import Arrivals, Stop, check_folders, stop_on_signals


def test_arrivals_are_handed_out_once_they_stay_as_they_are(tmp_path: Path) -> None:
    arrivals = Arrivals([str(tmp_path)])
    path = tmp_path / "deep" / "scan.png"
    path.parent.mkdir()
    path.write_bytes(b"half")
    assert arrivals.look() == []
    path.write_bytes(b"half and half")
    assert arrivals.look() == []
    assert arrivals.look() == [str(path)]
    assert arrivals.look() == []


def test_arrivals_hand_out_a_changed_file_again(tmp_path: Path) -> None:
    arrivals, path = Arrivals([str(tmp_path)]), tmp_path / "scan.png"
    path.write_bytes(b"first")
    assert [arrivals.look(), arrivals.look()] == [[], [str(path)]]
    path.write_bytes(b"second")
    assert [arrivals.look(), arrivals.look(), arrivals.look()] == [[], [str(path)], []]


def test_arrivals_wait_for_a_time_of_change_to_stay(tmp_path: Path) -> None:
    arrivals, path = Arrivals([str(tmp_path)]), tmp_path / "scan.png"
    for moment in (1, 2, 3):
        path.write_bytes(b"as large")
        os.utime(path, (moment, moment))
        assert arrivals.look() == []
    assert arrivals.look() == [str(path)]


def test_arrivals_leave_out_empty_and_other_files(tmp_path: Path) -> None:
    arrivals = Arrivals([str(tmp_path), str(tmp_path / "gone")])
    for name in ("empty.png", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"" if name == "empty.png" else b"something")
    assert [arrivals.look(), arrivals.look()] == [[], []]
    (tmp_path / "empty.png").write_bytes(b"no longer")
    assert [arrivals.look(), arrivals.look()] == [[], [str(tmp_path / "empty.png")]]


def test_looks_end_without_waiting_when_they_are_stopped(tmp_path: Path) -> None:
    stop = Stop()
    timer = threading.Timer(0.05, stop.request)
    timer.start()
    start = time.monotonic()
    assert list(stop.looks(Arrivals([str(tmp_path)]), poll_s=60)) == [[]]
    assert time.monotonic() - start < 30
    timer.join()
    assert list(stop.until(["a", "b"])) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_on_signals_takes_one_signal_and_puts_the_handlers_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert signal.getsignal(number) is not before
        assert list(stop.until("a")) == ["a"]
        os.kill(os.getpid(), number)
        assert stop.requested
        # A second one ends at once.
        assert signal.getsignal(number) is before
    assert signal.getsignal(number) is before


def test_check_folders_refuses_files(tmp_path: Path) -> None:
    check_folders([str(tmp_path)])
    (tmp_path / "scan.png").write_bytes(b"")
    for path in (tmp_path / "scan.png", tmp_path / "gone"):
        with pytest.raises(UsageError, match="folder"):
            check_folders([str(path)])
