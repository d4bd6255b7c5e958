"""A process that measures one candidate of a benchmark whenever its parent asks. Both ends of the pipe are in this file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.errors import AepipeError, command_line
from aepipe.runtime.model import load
from aepipe.runtime.providers import brief

TASKS = ("encode", "decode", "reconstruct")
START = "from aepipe.benchmark.child import main; main()"

Call = Callable[[Array], Array]


class Child:
    """The parent's end. It starts the process, which loads the model, makes its first calls and answers.

    `job` holds a name for messages and the parameters of `_start`; `folder` is for the files of the process.
    """

    def __init__(self, job: dict[str, Any], folder: Path):
        self.name = job["name"]
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
        self._errors = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by end()
        self._process = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )
        self._send(job)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let the process measure each task: for `seconds` each, and with at least `least` calls."""
        self._send(request)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Wait for one line; raises the error that the child reports, or AepipeError if the child has died."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        answer = json.loads(line)
        if "error" in answer:
            raise AepipeError(answer["error"], answer["hint"], answer["exit_code"])
        return answer

    def end(self) -> None:
        """Kill the process if it still runs."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def _died(self) -> AepipeError:
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        message = f"the process that measures {self.name} {how}{': ' + said[-1][:300] if said else ''}"
        return AepipeError(message, "try a smaller --batch-size; it may have had too little memory")


def main() -> None:
    """The child's end: the first line of stdin is a job, each further line a request; each gets a line on stdout."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a provider's library prints goes to stderr, so that it does not mix with the answers

    def answer(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=out, flush=True)

    job = json.loads(sys.stdin.readline())
    name = job.pop("name")
    try:
        with command_line():  # whoever reads the answer turns its hint into Python's words if need be
            calls, inputs, started = _start(**job)
            answer(started)
            for line in sys.stdin:
                request = json.loads(line)
                times = {task: _times(calls[task], inputs[task], **request) for task in TASKS}
                answer({"times": times, "memory_mb": peak_memory()})
    except AepipeError as error:
        answer({"error": error.message, "hint": error.hint, "exit_code": error.exit_code})
    except Exception as error:  # providers and torch raise errors of many types
        advice = " Set TORCHDYNAMO_VERBOSE"  # torch's messages end with advice that does not help here
        message = f"{name} failed: {brief(error).partition(advice)[0]}"
        answer({"error": message, "hint": "try a smaller --batch-size", "exit_code": AepipeError.exit_code})


def _start(
    path: str, provider: str, precision: str, device: str | None, reference: str, batch: int, threads: int | None
) -> tuple[dict[str, Call], dict[str, Array], dict[str, Any]]:
    """Load the model, call each task once, and compare the results with the reference."""
    start = time.perf_counter()
    calls = _torch(path, device, precision, threads) if device else _session(path, provider, precision, batch, threads)
    loaded = 1000 * (time.perf_counter() - start)
    with np.load(reference) as file:
        arrays = dict(file)
    inputs = {"encode": arrays["images"], "decode": arrays["codes"], "reconstruct": arrays["images"]}
    first, difference = {}, {}
    for task in TASKS:
        start = time.perf_counter()
        result = calls[task](inputs[task])
        first[task] = round(1000 * (time.perf_counter() - start), 3)
        difference[task] = float(np.abs(result - arrays[task]).max())
    return calls, inputs, {"load_ms": round(loaded, 3), "first_ms": first, "difference": difference}


def _session(path: str, provider: str, precision: str, batch: int, threads: int | None) -> dict[str, Call]:
    model = load(path, provider, precision=precision, threads=threads, batch_size=batch)
    model.start("encoder", "decoder")
    return {"encode": model.encode_batch, "decode": model.decode_batch, "reconstruct": model.reconstruct_batch}


def _torch(path: str, device: str, variant: str, threads: int | None) -> dict[str, Call]:
    """Calls of the run's model that take and give NumPy arrays, as a bundle's do; `variant` is one of `compare.TORCH`."""
    import torch

    from aepipe.workshop.run import Run

    if threads:
        torch.set_num_threads(threads)
    dtype, *words = variant.split()
    layout = torch.channels_last if "channels_last" in words else torch.contiguous_format
    model = Run(path).model().to(device, memory_format=layout)
    encode, decode = model.encode, model.decode
    if "compile" in words:
        encode, decode = torch.compile(encode), torch.compile(decode)

    def numpy_call(compute: Callable[[Any], Any]) -> Call:
        def call(values: Array) -> Array:
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=dtype == "bf16"):
                tensor = torch.from_numpy(values).to(device)
                if tensor.dim() == 4:
                    tensor = tensor.contiguous(memory_format=layout)
                return compute(tensor).float().cpu().numpy()

        return call

    compute = {"encode": encode, "decode": decode, "reconstruct": lambda images: decode(encode(images))}
    return {task: numpy_call(each) for task, each in compute.items()}


def _times(call: Call, values: Array, seconds: float, least: int) -> list[float]:
    """Milliseconds of each call until the time is over. Two calls before that wake the threads, and do not count."""
    call(values), call(values)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call(values)
        times.append(round(1000 * (time.perf_counter() - start), 5))
    return times


def peak_memory() -> float | None:
    """The most memory that this process has held, in MB; None if the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024, 1)
