"""A run is resumed and exported without what its factory needed only for the first weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aepipe import fit, hookimpl, plugins, resume

pytestmark = pytest.mark.trains


class Plugin:
    @hookimpl
    def register_encoders(self, register):
        register(pretrained)


def pretrained(shape, features, *, weights: str, rebuild: bool = False):
    """One matrix that begins with those of a file.

    weights: a file of NumPy
    """
    import torch
    from torch import nn

    matrix = nn.Linear(int(np.prod(shape)), features, bias=False)
    if not rebuild:
        matrix.weight.data.copy_(torch.from_numpy(np.load(weights)))
    return nn.Sequential(nn.Flatten(), matrix)


@pytest.fixture
def plugin():
    added = plugins.registry().register(Plugin(), "pretrained")
    yield
    plugins.registry().unregister(added)


def test_a_run_needs_the_first_weights_only_once(plugin, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((64, 1, 6, 6), np.float32)
    file = tmp_path / "weights.npy"
    np.save(file, np.random.default_rng(1).normal(size=(3, 36)).astype(np.float32))
    run = fit(
        images,
        encoder=f"pretrained:weights={file}",
        decoder="mlp",
        latent_dim=3,
        epochs=1,
        out=tmp_path / "run",
        show=False,
    )
    file.unlink()
    again = resume(run.directory, images, epochs=2, show=False)
    assert [row["epoch"] for row in again.history] == [1, 2]
    assert (again.export(tmp_path / "bundle", show=False) / "manifest.json").exists()
