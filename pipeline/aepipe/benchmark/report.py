"""Describes the machine and the versions, which figures of speed need, and writes all of it as Markdown."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from aepipe._version import __version__

PACKAGES = ("onnxruntime-gpu", "onnxruntime", "torch", "openvino", "numpy")
FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")

COLUMNS = {  # key of a row: its title
    "images_per_second": "images/s",
    "ratio": "ratio",
    "p50_ms": "p50 ms",
    "p90_ms": "p90 ms",
    "p99_ms": "p99 ms",
    "first_ms": "first ms",
    "load_ms": "load ms",
    "memory_mb": "MB",
    "difference": "difference",
}
LEGEND = (
    "Ratio: images/s over those of the first line of the same batch and task, the median over rounds. First: the first call. "
    "Load: importing the runtime and loading the model. MB: the peak of the process, all three tasks in it. Difference: the "
    "largest, from fp32 on the CPU by ONNX Runtime, of codes (encode) or of pixels in 0..1."
)


def versions() -> dict[str, str]:
    """The versions of aepipe, Python and the installed packages that compute."""
    found = {"aepipe": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The system, the processor, the cores that this process may use, the processor's instructions that matter, and GPUs."""
    model, flags = _processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    known = [flag for flag in FLAGS if flag in flags]
    return {"system": platform.platform(), "cpu": model, "cores": cores, "flags": known, "gpus": _gpus()}


def _processor() -> tuple[str, set[str]]:
    """The processor's name and flags; Linux tells both, other systems at most the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return entries.get("model name") or platform.processor() or platform.machine(), set(
        entries.get("flags", "").split()
    )


def _gpus() -> list[str]:
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split("\n")[:-1]


def cells(row: dict[str, Any]) -> list[str]:
    """The figures of a row as text, in the order of COLUMNS."""
    shown = {
        key: f"{row[key]:,.0f}" if row[key] >= 100 else f"{row[key]:.3g}" for key in COLUMNS if row[key] is not None
    }
    shown["ratio"] = f"{row['ratio']:.2f}"
    if row["difference"]:
        shown["difference"] = f"{row['difference']:.1e}"
    return [shown.get(key, "–") for key in COLUMNS]


def markdown(title: str, command: str, rows: Sequence[dict[str, Any]], left_out: Iterable[str] = ()) -> str:
    """A complete section: the command, the day, the machine, the versions, and a table for each task."""
    parts = [f"## {title}", f"`{command}`, {datetime.now(UTC):%Y-%m-%d}", machine_table(), LEGEND]
    several = len({row["bundle"] for row in rows}) > 1
    names = [*(["bundle"] if several else []), "provider", "precision", "batch"]
    for task in dict.fromkeys(row["task"] for row in rows):
        lines = [[*(str(row[name]) for name in names), *cells(row)] for row in rows if row["task"] == task]
        parts += [f"### {task}", table([*names, *COLUMNS.values()], lines, left=len(names) - 1)]
    parts += [f"- {reason}" for reason in left_out]
    return "\n\n".join(parts) + "\n"


def machine_table() -> str:
    """Machine and versions as a Markdown table."""
    facts = machine()
    lines = [
        ["processor", f"{facts['cpu']}, {facts['cores']} cores ({' '.join(facts['flags']) or 'flags not known'})"],
        ["GPU", ", ".join(facts["gpus"]) or "none"],
        ["system", facts["system"]],
        ["versions", ", ".join(f"{name} {number}" for name, number in versions().items())],
    ]
    return table(["", ""], lines, left=2)


def table(header: Sequence[str], lines: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table: the first `left` columns are text, the others numbers."""
    rule = ["---" if index < left else "--:" for index in range(len(header))]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *escaped))
