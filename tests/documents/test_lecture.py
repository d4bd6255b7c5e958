"""The quick form of docs/lecture.py: every figure and table, resumed without repeating anything."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.places import ROOT

pytestmark = [pytest.mark.trains, pytest.mark.slow, pytest.mark.long]

SCRIPT = ROOT / "docs" / "lecture.py"


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, SCRIPT, "--quick", "-o", folder / "out", "--runs", folder / "runs"]
    environment = {**os.environ, "AEPIPE_LOAD_PLUGINS": ""}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment)


def test_the_quick_form_shows_everything(tmp_path):
    stopped = start(tmp_path)
    assert any("Autoencoder, d = 2" in line for line in stopped.stderr)
    stopped.send_signal(signal.SIGINT)
    said = stopped.communicate()[1]
    assert stopped.returncode == 1 and said.endswith("stopped; the same command goes on from here\n"), said
    assert "Traceback" not in said
    done = start(tmp_path)
    said = done.communicate()[1]
    assert done.returncode == 0 and "PCA, d = 2\n" not in said, "it repeats what it did before"
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert len(pictures) == 3 + 2 + 3 + 3 + 1 + 1 + 1 and len(set(pictures)) == len(pictures)
    for picture in pictures:
        assert min(Image.open(tmp_path / "out" / picture).size) > 100
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results) == {
        *(f"{kind}-d{d}" for kind in ("pca", "conv", "resnet") for d in (2, 8)),
        "epochs",
        "speed",
        "checkerboard",
        "restoration",
        "judged",
        "detection, digits",
    }
    assert all(each["peak_2"] > 0 and each["peak_3"] > 0 for each in results["checkerboard"].values())
    assert results["pca-d8"]["mse"] < results["pca-d2"]["mse"]
    for kind in ("conv", "resnet"):
        assert {"train", "reconstructions", "midpoints", "midpoints_slerp"} <= set(results["judged"][kind])
        assert {"samples, gaussian", "samples, gmm5", "midpoints, full"} <= set(results["judged"][kind])
        assert {"linear", "slerp", "gaussian", "full"} <= set(results["judged"][kind]["paths"])
        assert results["judged"][kind]["train"]["coverage"] > 0 and "not followed" not in page and "A dash" not in page
    assert min(results["speed"].values()) > 0
    (restored,) = results["restoration"].values()
    assert restored["linear"] > restored["input"] and set(restored) == {"input", "linear", "own", "all"}
    assert f"{results['conv-d8']['mse']:.5f}" in page


def test_data_that_cannot_be_had_are_left_out(tmp_path, monkeypatch, capsys):
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "fashion-mnist" / "t10k-images-idx3-ubyte").write_bytes(b"damaged")
    monkeypatch.setenv("AEPIPE_DATA", str(tmp_path))
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from detection import available

    assert available("digits") and capsys.readouterr().err == ""
    assert not available("fashion-mnist")
    assert "without fashion-mnist: t10k-images-idx3-ubyte" in capsys.readouterr().err
