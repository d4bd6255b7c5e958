"""Every command and every Python block of the README runs, in order, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from aepipe import AepipeError
from aepipe.explore.web_runtime import web_runtime
from PIL import Image

from tests.helpers.places import ROOT

pytestmark = [pytest.mark.trains, pytest.mark.slow]

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SHORTER = ["--limit", "300", "--epochs", "1"]  # what every training gets here: the last of two equal options counts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos/ in it: colour JPEGs of several sizes in sub-folders."""
    home = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    for index in range(24):
        path = home / "photos" / f"day{index % 2}" / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        small.resize((40 + index, 48), Image.Resampling.BICUBIC).save(path)
    Image.fromarray(rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(home / "photo.jpg")
    return home


def works_here(line: str) -> bool:
    """Not without MNIST where it is named, nor a page without what it is made of."""
    if line.startswith("aepipe explore ") and "--cdn" not in line:
        try:
            web_runtime()
        except AepipeError:
            return False
    return "mnist" not in line or bool(os.environ.get("AEPIPE_DATA"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_commands_and_code(folder: Path, call, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    commands = [line.partition("  #")[0] for block in blocks("sh") for line in block.splitlines()]
    assert sum(line.startswith("aepipe ") for line in commands) >= 12
    for line in commands:
        if line.startswith("aepipe ") and works_here(line):
            arguments = shlex.split(line)[1:]
            done = call(*arguments, *(SHORTER if arguments[0] == "train" else []))
            assert done.code == 0, f"{line}\n{done.err}"
            if "-o" in arguments:
                assert (folder / arguments[arguments.index("-o") + 1]).exists(), line
        elif line.startswith("torchrun "):
            command = [sys.executable, "-m", "torch.distributed.run", *shlex.split(line)[1:], *SHORTER]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def test_set_up_lines_are_the_projects_own() -> None:
    lines = [line.partition("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    makefile = (ROOT / "Makefile").read_text()
    for line in lines:
        first, _, rest = line.partition(" ")
        if first == "make":
            assert re.search(rf"^{rest.split()[0]}:", makefile, re.MULTILINE), line
        elif first == "pip":
            assert re.fullmatch(r"install '?aepipe(\[(train|cuda)\])?'?", rest), line
        else:
            assert first in ("aepipe", "torchrun", ""), line


def test_the_command_table_names_every_command(cli) -> None:
    listed = re.findall(r"^  ([a-z][a-z-]*)  ", cli("--help").stdout.partition("Commands:")[2], re.MULTILINE)
    table = TEXT[TEXT.index("## Commands") : TEXT.index("## The bundle")]
    assert {"train", "infer", "demo"} <= set(listed)
    for name in listed:
        assert re.search(rf"\b{name}\b", table), name
