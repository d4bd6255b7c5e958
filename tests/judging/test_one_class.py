"""`eval --normal`: telling the class that a bundle was trained on from the others."""

from __future__ import annotations

import json

import aepipe
import numpy as np
import pytest


@pytest.fixture(scope="module")
def ones(tmp_path_factory):
    """A small model that knows ones only."""
    folder = tmp_path_factory.mktemp("ones")
    run = aepipe.fit(
        "digits:only=1", encoder="mlp:hidden=64", decoder="mlp:hidden=64", latent_dim=4, epochs=40, lr=3e-3, batch_size=32,
        densities=["gaussian"], out=folder / "run", show=False,
    )  # fmt: skip
    return run.export(folder / "bundle", show=False)


def test_it_tells_its_class_from_the_others(ones, call):
    done = call("eval", ones, "--data", "digits", "--normal", 1, "--provider", "cpu", "--json")
    found = json.loads(done.out)
    assert found["normal"] == 1 and found["density"] == "gaussian"
    assert (
        found["auroc"]["error"] > 0.95 and found["auroc"]["combined"] > 0.95 and 0 < found["auroc"]["log_density"] < 1
    )
    table = call("eval", ones, "--data", "digits", "--normal", 1, "--provider", "cpu").out
    assert "AUROC combined" in table and f"{found['auroc']['error']:.6g}" in table


def test_what_has_no_such_class_is_refused(ones, call, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((5, 28, 28), np.uint8))
    done = call("eval", ones, "--data", tmp_path / "x.npy", "--normal", 1)
    assert done.code == 2 and "no labels" in done.err
    done = call("eval", ones, "--data", "digits", "--normal", 11)
    assert done.code == 2 and "its labels: 0, 1" in done.err
