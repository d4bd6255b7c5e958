"""The quick form of docs/restoration.py: models are trained by their command lines, measured and drawn; nothing is done twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.places import ROOT

pytestmark = [pytest.mark.trains, pytest.mark.slow, pytest.mark.long]


def test_the_quick_form_shows_everything(data_folder: Path, tmp_path: Path) -> None:
    words = [sys.executable, ROOT / "docs" / "restoration.py", data_folder, "--quick", "-o", "out", "--runs", "runs"]
    done = subprocess.run([str(word) for word in words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for name in ("grey-sigma-25", "colours-sigma-0-to-55"):
        line = (tmp_path / "runs" / f"{name}.txt").read_text(encoding="utf-8")
        assert line.partition(" --augment")[0] in page, "the page names the command that was run"
    assert page.count("| unet |") == 3 and "DnCNN, published" in page
    for picture in ("set12.png", "colours.png", "noisy.jpg", "restored.jpg"):
        assert picture in page and min(Image.open(tmp_path / "out" / picture).size) > 150
    # What remains of σ² when noise is not clipped is what the noisy row says.
    noisy = [line.split("|")[2] for line in page.splitlines() if line.startswith("| noisy |")]
    assert [float(cell) for cell in noisy[:2]] == pytest.approx([20.17, 24.61], abs=0.06)
