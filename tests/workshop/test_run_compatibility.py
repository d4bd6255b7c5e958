"""Runs and time: what was trained earlier is read, exported and goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from aepipe.workshop.run import Run

from tests.helpers.folders import contents
from tests.helpers.places import FIXTURES
from tests.programs.make_fixture import outputs

KEPT = sorted(FIXTURES.glob("run-*"))


@pytest.fixture(params=KEPT, ids=lambda path: path.name)
def kept(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> Run:
    """A copy of the run, for nothing may change the kept one."""
    return Run(shutil.copytree(kept / "run", tmp_path / "run"))


def test_kept_runs_are_small_and_whole():
    assert KEPT
    for kept in KEPT:
        assert sum(map(len, contents(kept).values())) < 150_000
        assert {"README.md", "expected.npz", "run"} <= {path.name for path in kept.iterdir()}


def test_it_opens_and_reads(run: Run):
    assert run.finished and (run.shape, run.latent) == ((1, 8, 8), 2)
    assert [row["epoch"] for row in run.history] == [1]
    assert {"loss", "validation_mse", "lr", "images_per_second"} <= run.history[0].keys()
    codes, labels = run.codes()
    assert codes.shape == (run.config["data"]["train"], 2) and codes.dtype == np.float32 and np.isfinite(codes).all()
    assert labels is not None and labels.shape == (len(codes),) and set(labels.tolist()) == set(range(10))
    heldout = run.heldout()
    assert heldout.shape[1:] == (1, 8, 8) and heldout.dtype == np.uint8 and len(heldout) > 0
    assert list(run.densities()) == ["gaussian", "pca"]


def test_it_exports_to_a_bundle_that_means_the_same(kept: Path, run: Run, tmp_path: Path):
    with np.load(kept / "expected.npz") as arrays:
        expected = dict(arrays)
    given = {name: values for name, values in expected.items() if name.startswith("given ")}
    made = outputs(run.export(tmp_path / "bundle", show=False), given)
    assert given and made.keys() == expected.keys() - given.keys()
    for name, values in made.items():
        assert values.dtype == expected[name].dtype
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_another_density_is_fitted_to_it(run: Run):
    assert run.fit_density("few=pca:components=1") == "few"
    assert list(Run(run.directory).densities()) == ["gaussian", "pca", "few"]
    assert json.loads((run.directory / "run.json").read_text())["densities"] == ["gaussian", "pca", "few"]


def test_it_says_that_it_is_finished(run: Run, call):
    before = contents(run.directory)
    done = call("train", "--resume", run.directory)
    assert done.code == 0 and "is finished; --epochs N trains it further" in done.err
    assert contents(run.directory) == before
