"""The process that we run in: its cores, the memory that is free, and what it must not take along into a fork of itself."""

from __future__ import annotations

import ctypes
import math
import os
import weakref
from functools import cache
from pathlib import Path
from typing import Any, Protocol

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")


class CannotCrossForks(Protocol):
    """Something with threads, locks or sessions; `after_fork` is called in a child, and makes it anew or empties it."""

    def after_fork(self) -> None: ...


_renewed: weakref.WeakSet[Any] = weakref.WeakSet()


def renew_after_fork(owner: CannotCrossForks) -> None:
    """Have `owner.after_fork()` called in every child that this process forks, for as long as the owner lives."""
    _renewed.add(owner)


def never_freed(*values: object) -> None:
    """Keep these objects until the process has ended, even when the interpreter clears everything at its end.

    A session whose threads stayed behind in the parent would wait for them for ever, or crash, when it is freed.
    """
    for value in values:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _renew_all() -> None:
    for owner in list(_renewed):
        owner.after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew_all)


def cores() -> int:
    """How many cores this process may use: those of the machine, or fewer by its affinity (taskset, cpuset), by the CPU quota of
    its control group (containers) or by OMP_NUM_THREADS."""
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([able, *_quotas(), *_wished()]))


def limited_cores() -> int | None:
    """The same, or None where nothing but the machine sets a limit: then a library's own choice is the best one."""
    found = cores()
    return found if found < (os.cpu_count() or 1) else None


def free_memory() -> int:
    """Bytes of available main memory, with the page cache, which may hold the very data that are read. 8 GiB if the system is not
    Linux."""
    try:
        lines = MEMORY.read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):  # not Linux
        return 8 << 30


def _wished() -> list[int]:
    """The first number of OMP_NUM_THREADS, which may have one for each level of nesting; what is no number is ignored."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return [int(first)] if first.isdecimal() and len(first) < 10 and int(first) else []


@cache
def _quotas() -> tuple[int, ...]:
    """The CPU quotas of this process's control group and of those around it, rounded up to whole cores; versions 1 and 2."""
    found = []
    for line in _text(MEMBERSHIP).splitlines():
        _, controllers, place = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            found += [_cores_of(_text(folder / "cpu.max").split()) for folder in _upwards(CGROUPS, place)]
        elif "cpu" in controllers.split(","):
            for home in {CGROUPS / controllers, CGROUPS / "cpu"}:
                for folder in _upwards(home, place):
                    given = [_text(folder / f"cpu.cfs_{each}_us").strip() for each in ("quota", "period")]
                    found.append(_cores_of(given))
    return tuple(each for each in found if each)


def _upwards(home: Path, place: str) -> list[Path]:
    """The folder of a control group and those of the groups around it; in a container only the last may be visible."""
    inside = [part for part in place.split("/") if part not in ("", "..")]
    return [home.joinpath(*inside[:depth]) for depth in range(len(inside), -1, -1)]


def _cores_of(given: list[str]) -> int | None:
    """Quota and period as whole cores; None where there is no limit ("max" or -1)."""
    if len(given) != 2 or not all(each.isdecimal() and int(each) for each in given):
        return None
    return math.ceil(int(given[0]) / int(given[1]))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
