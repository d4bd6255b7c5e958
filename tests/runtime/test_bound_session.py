"""Sessions bound to device buffers, tried on the CPU's: the class is the same, the device another."""

from __future__ import annotations

import aepipe
import numpy as np
import onnxruntime as ort
import pytest
from aepipe.runtime.bound_session import BoundSession, can_be_bound


@pytest.fixture(scope="module")
def session(kept_bundle) -> ort.InferenceSession:
    return ort.InferenceSession(str(kept_bundle / "encoder.onnx"), providers=["CPUExecutionProvider"])


def test_batches_of_every_size_give_what_the_session_gives(kept_bundle, session):
    bound = BoundSession(session, "cpu", 8, device="cpu")
    rng = np.random.default_rng(0)
    with aepipe.load(kept_bundle, "cpu") as model:
        for count in (8, 1, 5, 8, 7, 20):  # 20: more than the buffers hold
            images = rng.random((count, 1, 28, 28), np.float32)
            (codes,) = bound.run({"image": images}).values()
            np.testing.assert_allclose(codes, model.encode_batch(images), atol=1e-5)


def test_a_result_is_the_callers_own(session):
    bound = BoundSession(session, "cpu", 4, device="cpu")
    ones, zeros = np.ones((4, 1, 28, 28), np.float32), np.zeros((4, 1, 28, 28), np.float32)
    first = bound.run({"image": ones})["latent"]
    kept = first.copy()
    bound.run({"image": zeros})
    np.testing.assert_array_equal(first, kept)


def test_what_can_be_bound(session, kept_bundle):
    assert can_be_bound(session)
    assert can_be_bound(ort.InferenceSession(str(kept_bundle / "density/gaussian/log_prob.onnx")))
