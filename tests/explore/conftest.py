"""Chromium, for the pages of `aepipe explore`."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.places import BROWSER


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory):
    """`call(SCRIPT, PAGE, …)`: a script of tests/browser in node; skips where node, npm or Chromium are not there."""
    found = [name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)]
    if not found or not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("there is no Chromium, no node or no npm")
    home = shutil.copytree(BROWSER, tmp_path_factory.mktemp("node") / "browser")
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    if subprocess.run(install, cwd=home, capture_output=True).returncode:
        pytest.skip("puppeteer-core cannot be installed")

    def call(script: str, page: Path, *arguments: object) -> Any:
        command = ["node", script, shutil.which(found[0]), page, *arguments]
        done = subprocess.run([str(each) for each in command], cwd=home, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout, object_hook=array)

    return call


def array(value: dict[str, Any]) -> Any:
    return np.frombuffer(base64.b64decode(value["f32"]), "<f4") if set(value) == {"f32"} else value
