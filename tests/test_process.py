"""What limits a process: affinity, quotas of control groups, OMP_NUM_THREADS, and how much memory is free."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aepipe import process

from tests.helpers.commands import python

TASKS = """
import os, sys, aepipe
aepipe.load(sys.argv[1], "cpu").session("encoder")
print(len(os.listdir("/proc/self/task")))
"""


@pytest.fixture
def groups(tmp_path: Path, monkeypatch):
    """A machine of 8 cores; write files of control groups to see what they mean."""
    monkeypatch.setattr(process, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(process, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def write(membership: str, **files: str) -> int:
        process._quotas.cache_clear()
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name.replace("__", "/").replace("--", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return process.cores()

    yield write
    process._quotas.cache_clear()


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu--max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu--max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu--max": "250000 100000\n"}, 3),
        ("0::/\n", {"cpu--max": "5000 100000\n"}, 1),
        ("0::/\n", {"cpu--max": "9900000 100000\n"}, 8),
        ("0::/\n", {"cpu--max": "nonsense\n"}, 8),
        ("0::/a/b\n", {"a__cpu--max": "300000 100000", "a__b__cpu--max": "max 100000"}, 3),
        ("0::/../outer\n", {"cpu--max": "300000 100000"}, 3),
        ("0::/not/visible/here\n", {"cpu--max": "300000 100000"}, 3),
        (
            "4:cpu,cpuacct:/box\n",
            {"cpu,cpuacct__box__cpu--cfs_quota_us": "200000", "cpu,cpuacct__box__cpu--cfs_period_us": "100000"},
            2,
        ),
        ("4:cpu,cpuacct:/box\n", {"cpu__cpu--cfs_quota_us": "-1", "cpu__cpu--cfs_period_us": "100000"}, 8),
        ("4:cpu:/\n0::/\n", {"cpu__cpu--cfs_quota_us": "150000\n", "cpu__cpu--cfs_period_us": "50000\n"}, 3),
        ("garbage\n\n", {}, 8),
    ],
)
def test_quotas(membership: str, files: dict[str, str], cores: int, groups) -> None:
    assert groups(membership, **files) == cores
    assert process.limited_cores() == (None if cores == 8 else cores)


@pytest.mark.parametrize(
    ("wish", "cores"),
    [("3", 3), ("3,2", 3), (" 2 ", 2), ("64", 8), ("0", 8), ("-1", 8), ("many", 8), ("", 8), ("9" * 5000, 8), ("²", 8)],
)
def test_omp_num_threads(wish: str, cores: int, groups, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wish)
    assert groups("0::/\n") == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="is about Linux")
@pytest.mark.parametrize("pinned", [True, False])
def test_a_session_has_no_more_threads_than_allowed(pinned: bool, digits_bundle: Path) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    if pinned:
        done = python(
            f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\n{TASKS}", digits_bundle, env=env
        )
    else:
        done = python(TASKS, digits_bundle, env=env)
    assert done.stdout == "1\n", done.stderr


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("MemTotal: 9 kB\nMemAvailable:    5 kB\n", 5 << 10),
        ("MemTotal: 9 kB\n", 8 << 30),
        ("MemAvailable:", 8 << 30),
        (None, 8 << 30),
    ],
)
def test_free_memory_is_what_the_system_says(text: str | None, free: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(process, "MEMORY", tmp_path / "meminfo")
    if text is not None:
        (tmp_path / "meminfo").write_text(text)
    assert process.free_memory() == free
