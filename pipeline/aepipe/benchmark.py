"""How fast a bundle is: each provider and batch size in a process of its own, because thread pools disturb each other."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from . import runtime
from .bundle import Bundle
from .errors import AepipeError, ProviderUnavailable
from .infer import load
from .progress import progress

CHILD = "import sys; from aepipe.benchmark import child; child(sys.argv[1])"


def compare(
    bundle: str, providers: list[str], batch_sizes: list[int], *, threads: int | None, seconds: float
) -> list[dict[str, Any]]:
    """Measure every combination; without `providers` the CPU, and CUDA where it starts.

    Returns one object for each provider, batch size and task (encode, decode, reconstruct). Raises what a provider that
    was named raises.
    """
    Bundle(bundle)
    for name in providers:
        runtime.provider(name)  # a misspelt one is found before any measuring
    wanted = providers or ["cpu", "cuda"]
    rows: list[dict[str, Any]] = []
    with progress("measuring", len(wanted) * len(batch_sizes)) as advance:
        for provider in wanted:
            for batch in batch_sizes:
                answer = _in_a_process(
                    {"bundle": bundle, "provider": provider, "batch": batch, "threads": threads, "seconds": seconds}
                )
                if "error" in answer and answer["exit_code"] == ProviderUnavailable.exit_code and not providers:
                    advance(len(batch_sizes))
                    break  # not asked for by name
                if "error" in answer:
                    raise AepipeError(answer["error"], answer["hint"], answer["exit_code"])
                rows += answer["rows"]
                advance(1)
    return rows


def _in_a_process(job: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", CHILD, json.dumps(job)], capture_output=True, text=True)
    if done.returncode:
        raise AepipeError(f"the benchmark process failed: {done.stderr.strip()[-300:]}", "try a smaller --batch-size")
    return json.loads(done.stdout.splitlines()[-1])


def child(text: str) -> None:
    """Measure one combination and print a JSON object: what runs in the process of its own."""
    job = json.loads(text)
    try:
        answer: dict[str, Any] = {"rows": _measure(**job)}
    except AepipeError as error:
        answer = {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
    print(json.dumps(answer))


def _measure(bundle: str, provider: str, batch: int, threads: int | None, seconds: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    model = load(bundle, provider, threads=threads, batch_size=batch)
    start = time.perf_counter()
    model.session("encoder"), model.session("decoder")
    loaded = 1000 * (time.perf_counter() - start)
    images = rng.random((batch, *model.shape), dtype=np.float32)
    codes = rng.standard_normal((batch, model.latent), dtype=np.float32)
    tasks: dict[str, Callable[[], Any]] = {
        "encode": lambda: model.encode_batch(images),
        "decode": lambda: model.decode_batch(codes),
        "reconstruct": lambda: model.reconstruct_batch(images),
    }
    rows = []
    for task, call in tasks.items():
        times = _times(call, seconds)
        warm = np.array(times[1:])
        p50, p90, p99 = (round(float(q), 4) for q in np.percentile(warm, [50, 90, 99]))
        row = {"provider": provider, "batch": batch, "task": task, "images_per_second": round(1000 * batch / p50, 1)}
        rows.append(
            {
                **row,
                "p50_ms": p50,
                "p90_ms": p90,
                "p99_ms": p99,
                "first_ms": times[0],
                "load_ms": loaded,
                "calls": len(warm),
            }
        )
    return rows


def _times(call: Callable[[], Any], seconds: float, least: int = 5) -> list[float]:
    """Milliseconds of each call: the first one apart, then until the time is over."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) <= least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return times
