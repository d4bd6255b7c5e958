"""A pipe in the place of any file that is read is refused: opening it would wait for ever."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import aepipe
import pytest
from aepipe.errors import BadInput
from aepipe.files.numpy_files import read_arrays
from aepipe.files.ours import whole_around
from aepipe.judging import anomaly
from aepipe.workshop.training.model import load_tensors

from tests.helpers.commands import refused

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_readers(pipe: Path, kept_bundle: Path, capsys) -> None:
    for read in (read_arrays, lambda path, _: load_tensors(path), lambda path, _: anomaly.read(path, None)):
        with pytest.raises(BadInput, match="is a pipe"):
            read(pipe, "make it again")
    assert "is a pipe" in refused(capsys, "train", "--config", pipe, "--data", "digits")


@pytest.mark.parametrize(
    "file",
    ["run.json", "metrics.jsonl", "codes.npz", "heldout.npz", "best.safetensors", "density/gaussian.safetensors"],
)
def test_files_of_a_run(pipe: Path, digits_run, tmp_path: Path, file: str) -> None:
    folder = Path(shutil.copytree(digits_run.directory, tmp_path / "run"))
    pipe.replace(folder / file)
    with pytest.raises(BadInput, match="is a pipe"):
        run = aepipe.Run(folder)
        assert run.history if file == "metrics.jsonl" else run.export(tmp_path / "bundle", show=False)
    assert not (tmp_path / "bundle").exists()


def test_marks_of_a_folder(pipe: Path, tmp_path: Path) -> None:
    pipe.replace(tmp_path / "manifest.json")
    with pytest.raises(BadInput, match="is not a bundle"):
        aepipe.load(tmp_path, "cpu")
    assert whole_around(tmp_path / "a.png") is None
