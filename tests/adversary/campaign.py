"""Thousands of hostile inputs and kills, and what came of each: python -m tests.adversary.campaign [--inputs N] [--kills N]

Every input is made of a seed, so that a finding can be repeated: `--only "images" --seed 17`. Inputs are tried in a process of
their own that is restarted when it crashes or takes longer than a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tests.adversary.inputs import KINDS, RUN
from tests.helpers.places import MNIST, ROOT

SECONDS = 60
MEMORY = 12 << 30  # bytes of address space: what wants more gets a MemoryError, not the machine
GOOD = ("works", "refused")
OUTCOMES = (*GOOD, "traceback", "hang", "crash", "wrong", "loss")
MARK = "<!-- campaign -->"


def attempt(kind: str, seed: int) -> tuple[str, str]:
    """Make one input, type the command, and say what came of it."""
    with tempfile.TemporaryDirectory() as root:
        home = Path(root)
        (home / "canary.txt").write_text("precious")
        folder = home / "case"
        folder.mkdir()
        words = KINDS[kind](folder, random.Random(f"{kind}{seed}"))
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                from aepipe.cli import run

                code = run(words)
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            return (
                "traceback",
                f"{type(error).__name__}: {str(error)[:200]} at {Path(where.filename).name}:{where.lineno}",
            )
        if sorted(os.listdir(home)) != ["canary.txt", "case"] or (home / "canary.txt").read_text() != "precious":  # noqa: PTH208
            return "loss", f"{words} wrote outside its folder: {sorted(os.listdir(home))}"  # noqa: PTH208
        if "Traceback" in err.getvalue():
            return "traceback", err.getvalue()[-300:]
        if code:
            said = "error" in err.getvalue().lower()
            left = [path.name for path in folder.rglob("*.part")]
            return (
                ("refused", "")
                if said and not left
                else ("wrong", f"exit {code} with {err.getvalue()[-200:]!r}, left {left}")
            )
        return _checked(words, folder)


def _checked(words: list[str], folder: Path) -> tuple[str, str]:
    """Whether what was written is what such a command writes."""
    path = folder / "o.npy"
    if not path.exists():
        return "works", ""
    array = np.load(path)
    note = folder / "of.txt"
    sound = json.loads((Path(note.read_text()) if note.exists() else MNIST).joinpath("manifest.json").read_text())
    sample = sound["data"]["shape"] if sound["format"] > 1 else sound["image"]["shape"]
    code = sound["latent"]["shape"] if sound["format"] > 1 else [sound["latent"]]
    task = next(word for word in words if word in TASKS)
    sides = {"encode": code, "interpolate": [12, *sample]}.get(task, sample)
    dtype = np.dtype(
        (sound.get("data", {}).get("raw") or {"dtype": "float32"})["dtype"] if task != "encode" else "float32"
    )
    fits = array.ndim == len(sides) + 1 and all(a in (None, b) for a, b in zip(sides, array.shape[1:], strict=True))
    right = array.dtype == dtype and fits and len(array) > 0 and bool(np.isfinite(array).all())
    return (
        ("works", "")
        if right
        else ("wrong", f"{words}: {array.dtype} {array.shape}, finite: {np.isfinite(array).all()}")
    )


TASKS = ("sample", "encode", "decode", "reconstruct", "interpolate")


def work() -> None:
    """The other end of `Worker`: a kind and a seed on each line of stdin, an outcome on each line of stdout."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        kind, seed = json.loads(line)
        print(json.dumps(attempt(kind, seed)), file=answers, flush=True)


class Worker:
    """A process that tries inputs, and is started anew when one has ended it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def ask(self, kind: str, seed: int) -> tuple[str, str]:
        if self.process is None:
            command = [sys.executable, "-c", "from tests.adversary.campaign import work; work()"]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
            streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **streams)  # type: ignore[call-overload]
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([kind, seed]) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], SECONDS)[0]:
            self.end()
            return "hang", f"more than {SECONDS} s"
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.end()
            return "crash", f"the process ended with {code}"
        outcome, detail = json.loads(line)
        return outcome, detail

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.process = None


Table = dict[str, Counter[str]]
Finding = tuple[str, int, str, str]


def try_inputs(count: int, seed: int = 0, only: str | None = None, jobs: int = 1) -> tuple[Table, list[Finding]]:
    """Outcomes by kind, and each input that was neither used nor refused with a sentence."""
    kinds = [kind for kind in KINDS if only in (None, kind)]
    workers = [Worker() for _ in range(jobs)]

    def share(number: int) -> list[Finding]:
        seeds = range(seed + number, seed + count, jobs)
        return [(kind, each, *workers[number].ask(kind, each)) for each in seeds for kind in [kinds[each % len(kinds)]]]

    found = _together(share, jobs)
    for worker in workers:
        worker.end()
    return _counted(kinds, found)


def _together(share: Callable[[int], list[Finding]], jobs: int) -> list[Finding]:
    with ThreadPoolExecutor(jobs) as pool:
        return [each for part in pool.map(share, range(jobs)) for each in part]


def _counted(kinds: Sequence[str], found: list[Finding]) -> tuple[Table, list[Finding]]:
    """A table of all outcomes, and those that are faults."""
    table: Table = {kind: Counter() for kind in kinds}
    for kind, _, outcome, _ in found:
        table[kind][outcome] += 1
    return table, sorted(each for each in found if each[2] not in GOOD)


def try_kills(count: int, seed: int = 0, jobs: int = 1) -> tuple[Table, list[Finding]]:
    """Kill a command at a random moment; then what was there before must be whole, the command must work, and nothing be left."""
    names = list(KILLED)

    def share(number: int) -> list[Finding]:
        seeds = range(seed + number, seed + count, jobs)
        named = [(names[each % len(names)], each) for each in seeds]
        return [(f"kills of {name}", each, *_kill(name, random.Random(f"kill{each}"))) for name, each in named]

    return _counted([f"kills of {name}" for name in names], _together(share, jobs))


# Each command, and the seconds within which it is killed.
KILLED = {
    "export onto a bundle": 9.0,
    "reconstruct to a folder": 2.5,
    "fit-density": 4.0,
}


def _kill(name: str, draw: random.Random) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as root:
        home = Path(root)
        shutil.copytree(RUN, home / "run")
        shutil.copytree(MNIST, home / "out")
        (home / "out" / "mine.txt").write_text("precious")
        np.save(home / "x.npy", np.zeros((3000, 28, 28), np.uint8))
        (home / "images").mkdir()
        words = {
            "export onto a bundle": ["export", "run", "-o", "out", "--overwrite"],
            "reconstruct to a folder": [
                "infer",
                "--provider",
                "cpu",
                "reconstruct",
                str(MNIST),
                "x.npy",
                "-o",
                "images/",
            ],
            "fit-density": ["fit-density", "run", "more=gaussian"],
        }[name]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "aepipe", *words]
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0.1, KILLED[name]))
        process.send_signal(signal.SIGKILL)
        process.wait()
        check = subprocess.run(
            [sys.executable, "-m", "aepipe", "inspect", "out"],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
        )
        if check.returncode or not (home / "out" / "mine.txt").exists():
            return "loss", f"after the kill: {check.stderr[-200:]}"
        finished = name == "reconstruct to a folder" and len(list((home / "images").glob("*.png"))) == 3000
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
        if done.returncode and not finished:
            return "wrong", f"the command does not work afterwards: {done.stderr[-300:]}"
        left = [str(path.relative_to(home)) for path in home.rglob(".aepipe-*")]
        if left or (home / "out" / "mine.txt").read_text() != "precious":
            return "loss" if not left else "wrong", f"left: {left}"
        return "works", ""


def as_markdown(table: Table) -> str:
    lines = [f"| input | tried | {' | '.join(OUTCOMES)} |", f"|---|{'--:|' * (len(OUTCOMES) + 1)}"]
    for kind, counts in table.items():
        lines.append(f"| {kind} | {sum(counts.values()):,} | {' | '.join(f'{counts[each]:,}' for each in OUTCOMES)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS))
    parser.add_argument("--page", type=Path, help="put the table into this Markdown file, between two marks")
    parser.add_argument("--jobs", type=int, default=2, help="inputs that are tried at the same time")
    given = parser.parse_args()
    table, findings = try_inputs(given.inputs, given.seed, given.only, given.jobs)
    if not given.only:
        killed, more = try_kills(given.kills, given.seed, given.jobs)
        table, findings = table | killed, findings + more
    for kind, seed, outcome, detail in findings:
        print(f"{kind} {seed}: {outcome}: {detail}", file=sys.stderr)
    text = as_markdown(table)
    print(text)
    if given.page:
        before, _, after = given.page.read_text(encoding="utf-8").split(MARK)
        given.page.write_text(f"{before}{MARK}\n{text}{MARK}{after}", encoding="utf-8")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
