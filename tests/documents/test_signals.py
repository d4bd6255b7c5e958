"""The quick form of docs/signals.py: every figure and table, and models that are there are not trained again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.places import ROOT, SIGNALS
from tests.helpers.strangers import install_real, with_path

pytestmark = [
    pytest.mark.trains,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(not SIGNALS.is_dir(), reason="the source archive is without the plugin"),
]


def start(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "docs" / "signals.py", "--quick", "-o", folder / "out", "--runs", folder / "runs"]
    return subprocess.run(command, cwd=folder, env=with_path(folder / "path"), capture_output=True, text=True)


def test_the_quick_form_shows_everything(tmp_path):
    install_real(tmp_path / "path", SIGNALS)
    done = start(tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert len(set(pictures)) == 4
    for picture in pictures:
        assert min(Image.open(tmp_path / "out" / picture).size) > 100
    saturated = re.search(r"\| PCA \| saturated \| ([\d.]+)", page)
    wiener, noisy = (re.search(rf"\| {name} \| ([\d.]+)", page) for name in ("Wiener filter", "noisy"))
    assert saturated and float(saturated[1]) > 0.9
    assert wiener and noisy and float(wiener[1]) > float(noisy[1])
    again = start(tmp_path)
    assert again.returncode == 0 and "exporting" not in again.stderr
    assert (tmp_path / "out" / "README.md").read_text(encoding="utf-8") == page
