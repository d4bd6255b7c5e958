"""Training, export and inference on a CUDA device; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import pytest

pytestmark = [pytest.mark.trains, pytest.mark.gpu]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    folder = tmp_path_factory.mktemp("gpu")
    run = aepipe.fit("digits", latent_dim=4, epochs=2, device="cuda", out=folder / "run", show=False)
    assert run.config["recipe"]["device"] == "cuda"
    return run.export(folder / "bundle", show=False)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((130, 1, 28, 28), dtype=np.float32)


def test_cuda_agrees_with_cpu(bundle: Path, images: np.ndarray) -> None:
    with aepipe.load(bundle, "cuda") as gpu, aepipe.load(bundle, "cpu") as cpu:
        assert gpu.session("encoder").name == "cuda"
        np.testing.assert_allclose(gpu.encode(images), cpu.encode(images), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(gpu.reconstruct(images), cpu.reconstruct(images), atol=1e-4)
        np.testing.assert_allclose(gpu.sample(65, seed=1), cpu.sample(65, seed=1), atol=1e-4)
        for name, values in gpu.score(images).items():
            np.testing.assert_allclose(values, cpu.score(images)[name], rtol=1e-4, atol=1e-4)


def test_auto_takes_cuda(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with aepipe.load(bundle) as model:
        assert model.session("encoder").name == "cuda"
    assert "cuda" in capsys.readouterr().err


def test_training_with_corruption_on_cuda(bundle: Path, tmp_path: Path) -> None:
    run = aepipe.fit("digits", corrupt="gaussian:sigma=0.3", epochs=1, device="cuda", out=tmp_path / "run", show=False)
    assert np.isfinite(run.config["metrics"]["mse"])


def test_batches_of_every_size_on_cuda(bundle: Path, images: np.ndarray) -> None:
    with aepipe.load(bundle, "cuda", batch_size=64) as gpu, aepipe.load(bundle, "cpu") as cpu:
        for count in (64, 1, 63, 130):
            np.testing.assert_allclose(gpu.reconstruct(images[:count]), cpu.reconstruct(images[:count]), atol=1e-4)


def test_a_cuda_graph_gives_the_same(bundle: Path, images: np.ndarray) -> None:
    with aepipe.load(bundle, "cuda:graph=true") as replayed, aepipe.load(bundle, "cuda") as plain:
        for _ in range(3):
            np.testing.assert_allclose(replayed.reconstruct(images), plain.reconstruct(images), atol=1e-5)
