"""`aepipe.fit`: arrays and places that are refused, and runs that stay as they are."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe import process
from aepipe.errors import BadInput

from tests.helpers.commands import refused
from tests.helpers.folders import contents
from tests.helpers.images import blobs
from tests.helpers.settings import OPTIONS, STEADY


def bad_arrays():
    whole = blobs(6).astype(np.float32) / 255
    spoiled = whole.copy()
    spoiled[3, 0, 2, 2] = np.nan
    yield "nan", spoiled
    yield "out of range", whole * 300
    yield "negative", whole - 0.5
    yield "text", np.array(["a", "b"])
    yield "objects", np.array([{}, {}], dtype=object)
    yield "complex", whole.astype(complex)
    yield "flat", whole.reshape(-1)
    yield "empty", whole[:0]
    yield "constant", np.full((9, 1, 8, 8), 0.5, np.float32)
    yield "one", whole[:1]


@pytest.mark.parametrize(("name", "array"), list(bad_arrays()), ids=[name for name, _ in bad_arrays()])
def test_arrays_that_are_refused(tmp_path, capsys, name: str, array: np.ndarray):
    with pytest.raises(BadInput) as caught:
        aepipe.fit(array, out=tmp_path / "run", **STEADY)
    assert caught.value.hint and not (tmp_path / "run").exists()
    np.save(tmp_path / "bad.npy", array, allow_pickle=True)
    refused(capsys, "train", "--data", tmp_path / "bad.npy", *OPTIONS, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_misspelt_arguments_of_fit():
    with pytest.raises(BadInput, match="no option 'epoch'") as caught:
        aepipe.fit(blobs(), epoch=3)
    assert "did you mean 'epochs'" in caught.value.hint


@pytest.mark.trains
def test_an_existing_run_stays_untouched(tmp_path, data: str, capsys):
    run = aepipe.fit(data, out=tmp_path / "run", **STEADY)
    before = contents(run.directory)
    said = refused(capsys, "train", "--data", data, *OPTIONS, "-o", run.directory)
    assert f"--resume {run.directory}" in said and "--overwrite" in said
    # Nor do other mistakes cost the old run, even with --overwrite.
    refused(capsys, "train", "--data", data, *OPTIONS, "-o", run.directory, "--overwrite", "--encoder", "cnov")
    refused(capsys, "train", "--data", data, *OPTIONS, "-o", run.directory, "--overwrite", "--limit", "1")
    assert contents(run.directory) == before
    (run.directory / "density" / "stray").mkdir()
    again = aepipe.fit(data, out=run.directory, overwrite=True, **{**STEADY, "epochs": 1})
    assert len(again.history) == 1 and (run.directory / "density" / "stray").is_dir()


def test_folders_that_are_no_runs_stay(tmp_path, data: str, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    for extra in ([], ["--overwrite"]):
        assert "is not a run" in refused(capsys, "train", "--data", data, "-o", tmp_path / "mine", *extra)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_places_that_cannot_be_written(tmp_path, data: str, capsys):
    (tmp_path / "file").write_text("")
    assert "file" in refused(capsys, "train", "--data", data, "-o", tmp_path / "file" / "run")
    assert "is not a run" in refused(capsys, "train", "--data", data, "-o", tmp_path / "file")
    assert "/proc/none" in refused(capsys, "train", "--data", data, "-o", "/proc/none/run")


def test_densities_that_the_memory_cannot_hold_are_left_out_or_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(process, "MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemAvailable: 1 kB\n")
    images = np.random.default_rng(0).random((20, 6, 6), np.float32)
    settings = {"encoder": "mlp:hidden=8", "decoder": "mlp:hidden=8", "epochs": 1, "latent_dim": 5, "device": "cpu"}
    with pytest.raises(BadInput, match="10 covariances of 5 numbers needs"):
        aepipe.fit(images, densities="gmm", out=tmp_path / "refused", **settings)
    assert not (tmp_path / "refused").exists()
    run = aepipe.fit(images, out=tmp_path / "run", **settings)
    assert run.config["densities"] == ["gaussian"]
    assert "note: left out: density 'pca': a covariance of 5 numbers needs" in " ".join(capsys.readouterr().err.split())
