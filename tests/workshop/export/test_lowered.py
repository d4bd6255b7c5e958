"""A bundle is lowered unless told otherwise."""

from __future__ import annotations

import aepipe
import numpy as np
import onnx
import pytest

from tests.helpers.graphs import operators


def test_a_bundle_is_lowered_unless_told_otherwise(digits_run, tmp_path):
    digits_run.export(tmp_path / "lowered", show=False)
    digits_run.export(tmp_path / "ordinary", lower="none", show=False)
    lowered, ordinary = (onnx.load(tmp_path / name / "decoder.onnx") for name in ("lowered", "ordinary"))
    assert {"DepthToSpace", "Gemm", "Conv"} <= set(operators(lowered))
    assert "Conv" not in operators(ordinary) and operators(ordinary).count("ConvTranspose") == 5
    assert not {"Shape", "Gather", "Mul", "Add", "Div", "Sub"} & set(operators(lowered))
    noise = np.random.default_rng(0).standard_normal((9, 4), np.float32)
    images = [aepipe.load(tmp_path / name, "cpu").decode(noise) for name in ("lowered", "ordinary")]
    np.testing.assert_allclose(*images, atol=1e-6)


@pytest.mark.parametrize("value", ["all", ""])
def test_an_unknown_lowering_is_refused(digits_run, tmp_path, value):
    with pytest.raises(aepipe.BadInput, match="lower"):
        digits_run.export(tmp_path / "x", lower=value)
