"""Stops `aepipe infer` jobs to a folder, again and again, until they end: a program that infer/test_continuing.py runs.

    python -m tests.programs.stopping FOLDER BUNDLE SCENARIO…

Each job is stopped at random moments by SIGKILL, SIGTERM or SIGINT, and then at each of the moments when a file moves to
OUT. What it makes must equal, bit for bit, what the same job makes that nothing disturbs. Prints, as JSON, how often each was
stopped and how often it continued.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # no thread pool, hence nothing that a fork would break

import aepipe.infer.tasks
import numpy as np
import onnxruntime
from aepipe.__main__ import main as command_line
from aepipe.files.partial import COMPLETE, PREFIX
from PIL import Image

from tests.helpers.folders import contents

STOPPED = (-signal.SIGKILL, 143, 130)
COUNT = 600
GIVEN = ("images.npy", "codes.npy", "photos")
STOPS = 2
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SCENARIOS = {
    "reconstruct": ["reconstruct", "images.npy"],
    "slice": ["reconstruct", "images.npy[5:550]", "--limit", "500"],
    "skip-bad": ["reconstruct", "photos", "--skip-bad"],
    "spoiled": ["denoise", "images.npy", "--corrupt", "gaussian:sigma=0.4", "--seed", "5"],
    "tiles": ["denoise", "photos", "--skip-bad", "--tile", "--corrupt", "saltpepper", "--limit", "120"],
    "sample": ["sample", "--count", str(COUNT), "--seed", "3"],
    "decode": ["decode", "codes.npy"],
    "shard": ["reconstruct", "images.npy", "--shard", "2/3"],
}
assert aepipe.infer.tasks and onnxruntime  # they are imported once, and not in every child


def inputs(home: Path) -> None:
    """600 images as an array, as codes and, 300 of them and some that cannot be read, as files."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28), np.uint8)
    np.save(home / "images.npy", images)
    np.save(home / "codes.npy", np.random.default_rng(1).standard_normal((COUNT, 8), dtype=np.float32))
    for k in range(300):
        path = home / "photos" / f"{k % 3}" / f"{k:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[k]).save(path)
        if k % 37 == 5:
            path.write_bytes(path.read_bytes()[:60])


def job(words: list[str], out: Path, said: Path) -> int:
    """Run the job in this process, which is a child."""
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have made it deaf to it
    sys.argv[1:] = [*words, "-o", f"{out}/"]
    try:
        command_line()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def in_child(work: Callable[[], int], stop: tuple[float, int] | None = None) -> int:
    """Run `work` in a child, which is sent a signal after some seconds; returns its exit code, or minus the signal."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = work()
        finally:
            os._exit(code)
    if stop is not None:
        time.sleep(stop[0])
        os.kill(child, stop[1])
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at_move(number: int) -> None:
    """Have this process killed just after it has moved so many files or folders."""
    moved = 0

    def counting(move: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def counted(self: Path, target: Path) -> Path:
            nonlocal moved
            result = move(self, target)
            moved += 1
            if moved == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted

    Path.replace = counting(Path.replace)  # type: ignore[assignment, method-assign]
    Path.rename = counting(Path.rename)  # type: ignore[assignment, method-assign]


def main(home: Path, bundle: str, name: str) -> dict[str, int]:
    task, *more = SCENARIOS[name]
    words = ["infer", task, bundle, "--provider", "cpu", "--batch-size", "16", *more]
    words = [str(home / "given" / word) if word.startswith(GIVEN) else word for word in words]
    folder = home / name
    folder.mkdir()
    whole, said, out = folder / "whole", folder / "said", folder / "out"
    began = time.monotonic()
    check(in_child(lambda: job(words, whole, said)) == 0, said)
    duration, expected, last = time.monotonic() - began, contents(whole), skipped(said)
    random.seed(name)
    stops, continued = 0, 0
    for round_ in ("new", "there"):
        shutil.rmtree(out, ignore_errors=True)
        if round_ == "there":
            out.mkdir()
        for moment in (*sorted(random.uniform(0.1, 0.95) for _ in range(STOPS)), None):
            stop = None if moment is None else (moment * duration, random.choice(SIGNALS))
            code = in_child(lambda: job(words, out, said), stop)
            continued += "continues: " in said.read_text()
            stops += code != 0
            if code == 0:
                break
            check(code in STOPPED, said)
            there = out.exists() and any(not each.name.startswith(".") for each in out.iterdir())
            if there and not any(folder.rglob(f"{PREFIX}*/{COMPLETE}")):
                for lock in folder.rglob(
                    f"{PREFIX}*.lock"
                ):  # it was stopped after its work, and nothing is left to continue
                    lock.unlink()
                break
        check(contents(out) == expected and skipped(said) == last, said)
    for number in (1, 7):
        shutil.rmtree(out)
        if name != "shard":
            out.mkdir()

        def disturbed(number: int = number) -> int:
            kill_at_move(number)
            return job(words, out, said)

        stops += in_child(disturbed) == -signal.SIGKILL
        check(in_child(lambda: job(words, out, said)) == 0 and contents(out) == expected, said)
        continued += "continues: " in said.read_text()
    check(sorted(each.name for each in folder.iterdir()) == ["out", "said", "whole"], said)
    return {"stops": stops, "continued": continued}


def skipped(said: Path) -> str:
    """What a job says of the images that it left out."""
    return "".join(line for line in said.read_text(encoding="utf-8").splitlines() if line.startswith("skipped "))


def check(right: bool, said: Path) -> None:
    if not right:
        raise SystemExit(f"{said.parent.name}: {said.read_text(encoding='utf-8')}\n{sorted(said.parent.iterdir())}")


if __name__ == "__main__":
    (Path(sys.argv[1]) / "given").mkdir()
    inputs(Path(sys.argv[1]) / "given")
    print(json.dumps({name: main(Path(sys.argv[1]), sys.argv[2], name) for name in sys.argv[3:]}))
