"""Every command and every Python block of the README runs, in order, in one folder; those on MNIST with the smaller digits."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from aepipe import AepipeError
from aepipe.explore.web_runtime import web_runtime
from PIL import Image

from tests.helpers.places import PHOTOS, ROOT

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
    shutil.copytree(PHOTOS, home / "exported" / "photos")
    return home


def works_here(line: str) -> bool:
    """Not a page without what it is made of."""
    if line.startswith("aepipe explore ") and "--cdn" not in line:
        try:
            web_runtime()
        except AepipeError:
            return False
    return True


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_commands_and_code(folder: Path, call, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    commands = [line.partition("  #")[0] for block in blocks("sh") for line in block.splitlines()]
    assert sum(line.startswith("aepipe ") for line in commands) >= 12
    for line in commands:
        words = shlex.split(line.replace("mnist", "digits"))
        if words and words[0] == "torchrun":  # what several processes do is tested elsewhere
            words = words[words.index("-m") + 1 :]
        if words and words[0] == "aepipe" and works_here(line):
            done = call(*words[1:], *(SHORTER if words[1] == "train" else []))
            assert done.code == 0, f"{line}\n{done.err}"
            if "-o" in words:
                assert Path(words[words.index("-o") + 1]).exists(), line
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"block {number} of README.md", "exec"), {"__name__": "__main__"})


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
