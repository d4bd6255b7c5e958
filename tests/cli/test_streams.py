"""Standard output that goes away, interruptions."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def test_closed_stdout(kept_bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aepipe", "infer", "sample", str(kept_bundle), "-o", str(tmp_path / "x.npy")]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "x.npy").shape == (64, 1, 28, 28)


def test_a_reader_that_goes_away(kept_bundle: Path, tmp_path: Path) -> None:
    """`aepipe infer score … | head -1` is no failure and says nothing of it."""
    np.save(tmp_path / "images.npy", np.zeros((3000, 28, 28), np.uint8))
    command = [
        sys.executable,
        "-m",
        "aepipe",
        "infer",
        "score",
        "--provider",
        "cpu",
        kept_bundle,
        "images.npy",
        "-o",
        "-",
    ]
    with subprocess.Popen(
        [str(word) for word in command], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "index,error,log_density\n"
        process.stdout.close()
        said = process.stderr.read()
        assert said.startswith("input: ") and said.count("\n") == 1
        assert process.wait() == 0


def test_interrupting_leaves_nothing(kept_bundle: Path, tmp_path: Path) -> None:
    np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (200_000, 28, 28)).flush()
    command = [sys.executable, "-m", "aepipe", "infer", "reconstruct", "--provider", "cpu", kept_bundle, "images.npy"]
    with subprocess.Popen(
        [str(word) for word in (*command, "-o", "out.npy")], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        for _ in range(600):
            if list(tmp_path.glob(".aepipe-*")):
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None and process.stderr.read().split("\n", 1)[1].strip() == "interrupted"
        assert process.wait() == 130
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]
