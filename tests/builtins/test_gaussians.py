"""The densities `gaussian` and `pca`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from aepipe import plugins, process
from aepipe.errors import BadInput
from aepipe.workshop.export.to_onnx import export_graphs, jobs

from tests.helpers.networks import pair

# Densities


def codes_of(count: int = 2000, latent: int = 4) -> torch.Tensor:
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((latent, latent))
    return torch.from_numpy((rng.standard_normal((count, latent)) @ mixing + 3).astype(np.float32))


def fitted(spec: str, codes: torch.Tensor):
    density = plugins.create("density", spec, codes.shape[1])
    density.fit(codes)
    return density


@pytest.mark.parametrize("spec", ["gaussian", "pca", "pca:components=2", "pca:components=0"])
def test_densities_agree_with_torchs_own(spec: str):
    codes = codes_of()
    density = fitted(spec, codes)
    covariance = torch.cov(codes.double().T, correction=0)
    if spec == "gaussian":
        covariance = covariance.diag().diag()
    elif spec != "pca":
        kept = int(spec[-1])
        variances, axes = torch.linalg.eigh(covariance)
        variances[: 4 - kept] = variances[: 4 - kept].mean()
        covariance = axes @ variances.diag() @ axes.T
    reference = torch.distributions.MultivariateNormal(codes.double().mean(0), covariance)
    here = density.log_prob(codes[:50])
    assert here.shape == (50,) and here.dtype == torch.float32
    torch.testing.assert_close(here.double(), reference.log_prob(codes[:50].double()), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(density.sample(density.noise(codes[:50])), codes[:50], atol=1e-4, rtol=1e-4)
    noise = torch.randn(20_000, density.noise_features, generator=torch.Generator().manual_seed(0))
    drawn = density.sample(noise).double()
    torch.testing.assert_close(torch.cov(drawn.T), covariance, atol=0.2, rtol=0.05)
    torch.testing.assert_close(drawn.mean(0), codes.double().mean(0), atol=0.1, rtol=0)


def test_all_components_beat_fewer_and_the_diagonal():
    codes = codes_of()
    best, *others = (
        float(fitted(spec, codes).log_prob(codes).mean())
        for spec in ("pca", "pca:components=2", "pca:components=1", "pca:components=0", "gaussian")
    )
    assert others[:3] == sorted(others[:3], reverse=True)
    assert all(best > other for other in others)


@pytest.mark.parametrize("spec", ["gaussian", "pca", "pca:components=2"])
@pytest.mark.parametrize("dead", ["one direction", "all", "a single code"])
def test_dead_directions_stay_finite(spec: str, dead: str, tmp_path):
    codes = codes_of(300, 6)
    if dead == "one direction":
        codes[:, 2] = 7.0
        codes[:, 4] = codes[:, 3]
    elif dead == "all":
        codes[:] = codes[0]
    else:
        codes = codes[:1]
    density = fitted(spec, codes).eval()
    assert torch.isfinite(density.log_prob(codes)).all()
    assert torch.isfinite(density.noise(codes)).all()
    assert torch.isfinite(density.sample(torch.randn(5, 6))).all()


@pytest.mark.trains
@pytest.mark.parametrize("spec", ["gaussian", "pca"])
def test_dead_directions_export_within_the_tolerance(spec: str, tmp_path):
    """What the gate allows, |a − b| ≤ 1e-4·max(1, |a|), must hold where a variance is at its floor."""
    from aepipe.runtime.providers import provider
    from aepipe.space import Size, Space

    codes = codes_of(3000, 16)
    codes[:, 5:] = codes[:, :11] @ torch.randn(11, 11, generator=torch.Generator().manual_seed(2))
    codes[:, 3] = 20.0
    density = fitted(spec, codes).eval()
    todo = [
        job
        for job in jobs(pair("pca", "pca"), {spec: (density, {})}, Space.of((1, 28, 28)), Size(16), Size(16))
        if job.graph.density
    ]
    export_graphs(todo, tmp_path, {}, lowered=True)
    for job in todo:
        values = codes if job.graph.role != "sample" else torch.randn(3000, 16)
        session = provider("cpu").open(tmp_path / job.graph.file)
        (got,) = session.run(dict.fromkeys(job.graph.inputs, values.numpy())).values()
        expected = getattr(density, job.method)(values).numpy()
        assert float((np.abs(got - expected) / np.maximum(1, np.abs(expected))).max()) <= 1e-4, job.graph.role


@pytest.mark.parametrize("count", [1, 2, 7, 11, 12, 13])
@pytest.mark.parametrize("spec", ["pca", "pca:components=3"])
def test_fewer_codes_than_numbers_are_fitted_as_many_are(spec: str, count: int):
    """Twice the same codes have the same covariance, and as many as that are fitted by way of it."""
    codes = codes_of(count, 12)
    few, many = fitted(spec, codes), fitted(spec, codes.repeat(20, 1))
    torch.testing.assert_close(few.axes.T @ few.axes, torch.eye(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(few.std, many.std, atol=1e-5, rtol=1e-4)
    first, second = ((each.axes * each.std.square()) @ each.axes.T for each in (few, many))
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("spec", "way_out"), [("pca", "take gaussian"), ("gmm", "pca or gaussian, or fewer")])
def test_what_needs_more_memory_than_there_is_is_refused_before_it_is_made(spec: str, way_out: str):
    with pytest.raises(BadInput, match=r"needs about [\d,.]+ GiB of memory, and [\d,.]+ GiB are free") as caught:
        plugins.create("density", spec, 2**21)
    assert way_out in caught.value.message


def test_a_mixture_of_a_map_is_measured_against_the_free_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {9 << 20} kB\n")
    with pytest.raises(
        BadInput, match=r"10 covariances of 4,096 numbers needs about 10\.0 GiB of memory, and 9\.0 GiB"
    ):
        plugins.create("density", "gmm", 4096)
    (tmp_path / "meminfo").write_text("MemAvailable: 65537 kB\n")
    assert plugins.create("density", "gmm:components=1", 1024).components == 1
    with pytest.raises(BadInput, match="2 covariances"):
        plugins.create("density", "gmm:components=2", 1024)
