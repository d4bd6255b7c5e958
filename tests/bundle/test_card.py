"""The card of a bundle: its README.md."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def test_the_example_on_the_card_runs(digits_bundle: Path, tmp_path):
    code = (digits_bundle / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    shutil.copytree(digits_bundle, tmp_path / digits_bundle.name)
    check = "\nassert reconstruction.shape == image.shape"
    subprocess.run([sys.executable, "-c", code + check], cwd=tmp_path, check=True)
