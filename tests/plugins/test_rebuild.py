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


class Demanding:
    """Components whose factories name all that they may be told, and give no defaults."""

    @hookimpl
    def register_encoders(self, register):
        def demanding(shape, features, *, rebuild):
            from aepipe_builtins.networks import mlp_encoder

            return mlp_encoder(shape, features, hidden=(8,))

        register(demanding)

    @hookimpl
    def register_decoders(self, register):
        def demanding(latent, shape, *, rebuild):
            from aepipe_builtins.networks import mlp_decoder

            return mlp_decoder(latent, shape, hidden=(8,))

        register(demanding)

    @hookimpl
    def register_objectives(self, register):
        def demanding(latent, *, shape, classes, rebuild):
            assert len(shape) == 3
            if classes is None:
                raise ValueError("it learns from labels, and the data have none")
            return plugins.create("objective", "mse", latent)

        register(demanding)

    @hookimpl
    def register_densities(self, register):
        def demanding(latent, *, classes, rebuild):
            if classes is None:
                raise ValueError("it learns from labels, and the data have none")
            return plugins.create("density", "gaussian", latent)

        register(demanding)


@pytest.fixture
def demanding():
    added = plugins.registry().register(Demanding(), "demanding")
    yield dict.fromkeys(("encoder", "decoder", "objective", "densities"), "demanding")
    plugins.registry().unregister(added)


@pytest.mark.parametrize("own", [False, True], ids=["by name", "own modules"])
def test_whoever_makes_a_component_tells_it_all_that_it_may_ask_for(own, demanding, tmp_path: Path) -> None:
    from torch import nn

    if own:
        shape = (1, 8, 8)
        demanding["encoder"] = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        demanding["decoder"] = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, shape))
    parts = {key: demanding[key] for key in ("encoder", "decoder")} if own else {}
    run = fit("digits:size=8", **demanding, latent_dim=3, epochs=1, limit=50, out=tmp_path / "run", show=False)
    run = resume(run.directory, epochs=2, show=False, **parts)
    run.fit_density("more=demanding")
    assert (run.export(tmp_path / "bundle", show=False) / "density" / "more" / "sample.onnx").exists()
