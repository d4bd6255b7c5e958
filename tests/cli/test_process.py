"""The command line as a process: its signals, its streams, and what it prints of strangers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from aepipe.errors import shown
from aepipe.files.partial import PREFIX
from aepipe.infer.writers import CsvWriter
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.commands import python
from tests.helpers.places import MNIST

COMMAND = [sys.executable, "-m", "aepipe"]
linux = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell and its signals")


@linux
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing_half_written(number: int, code: int, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.lib.stride_tricks.as_strided(np.zeros(1, "u1"), (100_000, 28, 28), (0, 0, 0)))
    (tmp_path / "out").mkdir()
    words = [*COMMAND, "infer", "reconstruct", MNIST, "x.npy", "--provider", "cpu", "-o", "out/"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not any((tmp_path / "out").iterdir()):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(number)
    assert process.wait(20) == code and "Traceback" not in process.stderr.read()  # type: ignore[union-attr]
    assert [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(PREFIX)] == []


@linux
def test_what_a_kill_leaves_does_not_stand_in_the_way(call, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((40, 28, 28), "u1"))
    code = "import os, signal; from aepipe.infer import writers; from aepipe.cli import run; import sys; "
    code += "writers.FolderWriter.write = lambda *a: os.kill(os.getpid(), signal.SIGKILL); run(sys.argv[1:])"
    words = ["infer", "reconstruct", MNIST, tmp_path / "x.npy", "--provider", "cpu", "-o", f"{tmp_path / 'out'}/"]
    (tmp_path / "out").mkdir()
    assert subprocess.run([sys.executable, "-c", code, *words], capture_output=True).returncode == -signal.SIGKILL
    assert all(path.name.startswith(PREFIX) for path in (tmp_path / "out").iterdir())
    assert call(*words).code == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == len(list((tmp_path / "out").iterdir())) == 40


@linux
@pytest.mark.parametrize(
    ("redirection", "code"), [(">/dev/full", 1), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0), ("2>/dev/full", 0)]
)
def test_streams_that_are_closed_or_full(redirection: str, code: int, tmp_path: Path) -> None:
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m aepipe list {redirection}', sys.executable], capture_output=True, text=True
    )
    assert done.returncode == code and "Traceback" not in done.stderr + done.stdout
    if code:
        assert "No space left" in done.stderr


@linux
def test_a_table_on_closed_streams(tmp_path: Path) -> None:
    score = f'"$0" -m aepipe infer score "{MNIST}" "digits[:2]" --provider cpu -o -'
    done = subprocess.run(["/bin/sh", "-c", f"{score} >&-", sys.executable], capture_output=True, text=True)
    assert done.returncode == 1 and "stdout: it is closed" in done.stderr and "Traceback" not in done.stderr
    done = subprocess.run(["/bin/sh", "-c", f"{score} 2>&-", sys.executable], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("index,error,log_density\n") and done.stdout.count("\n") == 3


class Logger:
    """What stands in the place of stderr in Celery, Locust and some editors: no isatty, no encoding."""

    def write(self, text: str) -> None: ...

    def flush(self) -> None: ...


@pytest.mark.parametrize("stream", [None, Logger()])
def test_messages_never_stop_the_work(stream, monkeypatch) -> None:
    from aepipe.progress import progress, say

    monkeypatch.setattr(sys, "stderr", stream)
    say("hello")
    with progress("working", 3) as advance:
        advance(3)


@given(st.text())
def test_no_text_of_a_stranger_acts_on_a_terminal(text: str) -> None:
    safe = shown(text)
    assert all(each.isprintable() or each in "\n\u00a0\u3000" for each in safe)
    assert not text.isprintable() or safe == text


def test_a_file_name_cannot_move_the_cursor(call, tmp_path: Path) -> None:
    name = "a\x1b[2J\u202egnp.npy"
    (tmp_path / name).write_bytes(b"no array")
    outcome = call("infer", "encode", "--provider", "cpu", MNIST, tmp_path / name, "-o", tmp_path / "o.npy")
    assert outcome.code == 2 and "\x1b" not in outcome.err and "\u202e" not in outcome.err
    assert "a\\x1b[2J\\u202egnp.npy" in outcome.err


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "plain.png", "a=b"]
    with CsvWriter(tmp_path / "t.csv", ["path", "error"]) as writer:
        writer.write({"path": names, "error": np.array([-1.0, 2, 3, 4, 5, 6])})
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert [line.rpartition(",")[0] for line in lines[1:]] == [
        "'" + name if name[0] in "=+-@" else name for name in names
    ]
    assert lines[1].endswith(",-1.0")


def test_out_may_begin_with_a_tilde(call, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert call("infer", "sample", "--provider", "cpu", MNIST, "--count", 2, "-o", "~/s.npy").code == 0
    assert os.listdir(tmp_path) == ["s.npy"]  # noqa: PTH208
    outcome = call("infer", "sample", "--provider", "cpu", MNIST, "-o", "~nobody-of-that-name/s.npy")
    assert outcome.code == 2 and "write the whole path" in outcome.err


@pytest.mark.parametrize("out", ["photos", "photos/codes.npy", "photos/new/"])
def test_out_is_kept_apart_from_the_input(out: str, call, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.new("L", (28, 28)).save(tmp_path / "photos" / "a.png")
    task = "encode" if out.endswith(".npy") else "reconstruct"
    outcome = call("infer", task, "--provider", "cpu", MNIST, tmp_path / "photos", "-o", f"{tmp_path}/{out}")
    assert outcome.code == 2 and [path.name for path in (tmp_path / "photos").iterdir()] == ["a.png"]


GONE = """
import os, sys, tempfile
from aepipe.cli import run
place = tempfile.mkdtemp()
os.chdir(place)
os.rmdir(place)
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", [["train", "--data", "digits"], ["export", "run", "-o", "bundle"]])
def test_a_current_folder_that_is_gone(words: list[str]) -> None:
    done = python(GONE, *words)
    assert done.returncode == 2 and "the current folder does not exist any more" in done.stderr, done


def test_more_samples_than_memory_holds(call, tmp_path: Path) -> None:
    outcome = call("infer", "sample", "--provider", "cpu", MNIST, "--count", 10**15, "-o", tmp_path / "s.png")
    assert outcome.code == 2 and "GiB of memory" in outcome.err and not os.listdir(tmp_path)  # noqa: PTH208
