"""Memory does not grow with the input."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import pytest

from tests.helpers.commands import PEAK, python


@pytest.fixture(scope="module")
def linear_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28×28 to four numbers and back by one matrix each way: many images in a short time."""
    from tests.helpers.networks import linear

    images = np.random.default_rng(0).random((64, 1, 28, 28), dtype=np.float32)
    out = tmp_path_factory.mktemp("linear") / "linear"
    return Path(aepipe.export_modules(*linear(), images, out, mean=0.0, std=1.0, densities=(), show=False))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
@pytest.mark.parametrize(
    ("task", "counts", "options"),
    [
        ("encode", (10_000, 100_000), ["-o", "out.npy"]),
        ("encode", (10_000, 100_000), ["-o", "out.npz", "--code-dtype", "int8"]),
        ("reconstruct", (4_000, 40_000), ["-o", "out.npy"]),
    ],
)
def test_memory_does_not_grow_with_the_input(
    task: str, counts: tuple[int, int], options: list[str], linear_bundle: Path, tmp_path: Path, monkeypatch
) -> None:
    """78 MB of images in, 126 MB out: neither is ever in memory as a whole."""
    monkeypatch.chdir(tmp_path)
    peaks = []
    for count in counts:
        np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (count, 28, 28)).flush()
        words = ["infer", task, "--provider", "cpu", linear_bundle, "images.npy", *options]
        done = python(PEAK, *words)
        assert done.returncode == 0, done.stderr
        out = np.load(options[1], mmap_mode="r")
        assert len(out["codes"] if options[1].endswith(".npz") else out) == count
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 30 and peaks[1] < 400, f"{peaks} MB"
