"""A loaded model: what it takes and what it refuses."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.errors import AepipeError, BadInput


def test_threads_and_sizes_are_checked(kept_bundle: Path) -> None:
    for settings in ({"threads": 0}, {"threads": -1}, {"batch_size": 0}):
        with pytest.raises(BadInput):
            aepipe.load(kept_bundle, "cpu", **settings)


def test_a_failing_batch_is_explained(kept_bundle: Path) -> None:
    with aepipe.load(kept_bundle, "cpu") as model, pytest.raises(AepipeError, match="cpu failed in the decoder"):
        model.decode_batch(np.zeros((2, 5), np.float32))


def test_a_model_says_in_one_line_what_it_is(kept_bundle: Path) -> None:
    model = aepipe.load(kept_bundle, "cpu", precision="fp32")
    sizes = "images 1×28×28, code 8, densities gaussian, pca, gmm"
    assert repr(model) == f"<Model 'mnist-d8': {sizes}; fp32, provider cpu>"
    assert repr(model.bundle) == f"<Bundle 'mnist-d8': {sizes}>"
    assert model.densities == ("gaussian", "pca", "gmm")


def test_the_density_of_codes_is_that_of_a_score(kept_bundle: Path) -> None:
    images = np.random.default_rng(0).random((5, 28, 28), np.float32)
    with aepipe.load(kept_bundle, "cpu", batch_size=2) as model:
        codes = model.encode(images)
        for density in (None, *model.densities):
            found = model.log_prob(codes, density)
            np.testing.assert_allclose(found, model.score(images, density)["log_density"], rtol=1e-5)
        variance = model.bundle.codes()[0].var(0)
        far = codes + 100 * np.sqrt(variance)
        assert (model.log_prob(far, "pca") < model.log_prob(codes, "pca")).all()
        with pytest.raises(BadInput, match="no density 'gausian'"):
            model.log_prob(codes, "gausian")
        with pytest.raises(BadInput, match="do not fit this bundle"):
            model.log_prob(images)
