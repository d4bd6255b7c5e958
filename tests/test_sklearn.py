"""The estimator of scikit-learn: its own checks, pipelines, grids, pickles without torch, and the folder that a model needs."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.errors import BadInput
from aepipe.sklearn import Autoencoder
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

pytestmark = pytest.mark.trains

LINEAR = {"encoder": "pca", "decoder": "pca", "device": "cpu", "provider": "cpu", "random_state": 0}


@pytest.mark.slow
@parametrize_with_checks(
    [Autoencoder(1, encoder="mlp:hidden=4", decoder="mlp:hidden=4", epochs=1, device="cpu", provider="cpu")]
)
def test_what_scikit_learn_asks_of_an_estimator(estimator, check) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return load_digits().data[:200]  # 8 × 8 pixels of 0 to 16


@pytest.fixture(scope="module")
def fitted(rows) -> Autoencoder:
    return Autoencoder(5, shape=(1, 8, 8), range=(0, 16), **LINEAR).fit(rows)


def test_rows_go_to_codes_and_back_in_their_units(fitted, rows, tmp_path) -> None:
    codes = fitted.transform(rows)
    assert codes.shape == (200, 5) and codes.dtype == np.float32
    restored = fitted.inverse_transform(codes)
    assert restored.shape == rows.shape and restored.min() >= 0 and 10 < restored.max() <= 16
    explained = 1 - np.square(rows - restored).sum() / np.square(rows - rows.mean(0)).sum()
    assert fitted.score(rows) == pytest.approx(explained, abs=1e-4) and explained > 0.5
    drawn = fitted.sample(7)
    assert drawn.shape == (7, 64) and np.array_equal(drawn, fitted.sample(7))
    assert not np.array_equal(drawn, fitted.sample(7, random_state=1))
    assert list(fitted.get_feature_names_out())[:2] == ["autoencoder0", "autoencoder1"]
    model = aepipe.load(fitted.export(tmp_path / "bundle"), "cpu")
    assert model.space.kind == "image"
    np.testing.assert_allclose(model.log_prob(codes), fitted.score_samples(rows))


def test_a_grid_of_pipelines_finds_the_better_code(rows) -> None:
    pipeline = make_pipeline(StandardScaler(), Autoencoder(**LINEAR))
    grid = GridSearchCV(pipeline, {"autoencoder__latent_dim": [1, 6]}, cv=2, error_score="raise").fit(rows)
    assert grid.best_params_ == {"autoencoder__latent_dim": 6}
    assert grid.transform(rows).shape == (200, 6)


def test_a_pickle_runs_without_torch_and_holds_no_data(fitted, rows, tmp_path) -> None:
    kept = pickle.dumps(fitted)
    assert len(kept) < 60_000 and not any(name.startswith("codes") for name in fitted.bundle_.files)
    (tmp_path / "kept").write_bytes(kept)
    np.save(tmp_path / "rows.npy", rows)
    program = (
        "import sys, pickle, numpy\n"
        "model = pickle.load(open('kept', 'rb')); numpy.save('codes.npy', model.transform(numpy.load('rows.npy')))\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert np.array_equal(np.load(tmp_path / "codes.npy"), fitted.transform(rows))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_folder_of_a_model_lives_as_long_as_the_estimator(fitted, rows, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    again = pickle.loads(pickle.dumps(fitted))
    codes = again.transform(rows)
    (folder,) = tmp_path.iterdir()
    child = os.fork()
    if child == 0:
        same = np.array_equal(again.transform(rows), codes)
        del again
        gc.collect()
        os._exit(0 if same and folder.is_dir() and len(list(tmp_path.iterdir())) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(again.transform(rows), codes) and folder.is_dir()
    del again
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_modules_of_the_users_own_are_cloned_and_trained(rows) -> None:
    from torch import nn

    own = Autoencoder(None, encoder=nn.Linear(64, 3), decoder=nn.Linear(3, 64), density=None, epochs=1, device="cpu")
    made = clone(own).fit(rows)
    assert made.encoder is not own.encoder and made.transform(rows[:2]).shape == (2, 3)
    with pytest.raises(BadInput, match=r"no density of .* gives log-densities"):
        made.score_samples(rows)


def test_what_cannot_be_used_is_a_sentence(fitted, rows, tmp_path) -> None:
    with pytest.raises(NotFittedError):
        Autoencoder().transform(rows)
    with pytest.raises(NotFittedError):
        Autoencoder().export(tmp_path / "bundle")
    with pytest.raises(ValueError, match=r"X has 64 features, and samples of shape \[1, 7, 9\] have 63"):
        Autoencoder(shape=(1, 7, 9)).fit(rows)
    with pytest.raises(ValueError, match="63 features"):
        fitted.transform(rows[:, 1:])
    with pytest.raises(BadInput, match="unknown encoder 'mpl'"):
        Autoencoder(encoder="mpl").fit(rows)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(BadInput, match="is not a bundle"):
        fitted.export(tmp_path)
    assert Path(tmp_path / "mine.txt").exists()
