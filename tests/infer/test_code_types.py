"""`infer encode --code-dtype`: what is written, what the last line says of it, and what decoding makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import aepipe
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
MAPS = ROOT / "fixtures/format-2-maps/bundle"
FORMS = [("float16", "npy"), ("float16", "npz"), ("int8", "npz")]


@pytest.fixture(params=["vector", "map"])
def case(request: pytest.FixtureRequest, kept_bundle: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A bundle, and a file of samples for it."""
    rng = np.random.default_rng(0)
    if request.param == "vector":
        np.save(tmp_path / "in.npy", rng.random((9, 28, 28), np.float32))
        return kept_bundle, tmp_path / "in.npy"
    np.save(tmp_path / "in.npy", rng.integers(0, 4096, (9, 1, 16, 24), np.uint16))
    return MAPS, tmp_path / "in.npy"


@pytest.mark.parametrize(("dtype", "ending"), FORMS)
def test_codes_come_back_as_they_were_packed(dtype, ending, case, call, tmp_path: Path) -> None:
    bundle, given = case
    out = tmp_path / f"codes.{ending}"
    settings = ["--provider", "cpu", "--batch-size", 4]
    outcome = call("infer", "encode", bundle, given, "-o", out, "--code-dtype", dtype, *settings)
    assert outcome.code == 0, outcome.err
    with aepipe.load(bundle, "cpu", batch_size=4) as model:
        codes = model.encode(np.load(given))
        packed = aepipe.pack_codes(codes, dtype)
        expected = model.decode(aepipe.unpack_codes(packed))
        restored, raw = model.reconstruct(np.load(given)), model.raw
    if ending == "npz":
        with np.load(out) as arrays:
            assert set(arrays.files) == {*packed, "indices"}
            for name, array in packed.items():
                np.testing.assert_array_equal(arrays[name], array)
                assert arrays[name].dtype == array.dtype
    else:
        np.testing.assert_array_equal(np.load(out), packed["codes"])
        assert np.load(out).dtype == dtype
    assert call("infer", "decode", bundle, out, "-o", tmp_path / "back.npy", *settings).code == 0
    back = np.load(tmp_path / "back.npy")
    np.testing.assert_allclose(back, expected, atol=1e-6 if raw is None else 1)  # raw values are whole numbers
    assert call("infer", "decode", bundle, out, "-o", tmp_path / "sheet.png", *settings).code == 0

    number = r"([\d.e+-]+)"
    said = re.search(rf"{dtype} codes differ by up to {number} and {number} root mean square", outcome.err)
    assert said, outcome.err
    apart = np.abs(aepipe.unpack_codes(packed).astype(np.float64) - codes)
    spread = (codes - codes.mean((0, *range(2, codes.ndim)), keepdims=True)).std()
    found = [float(each) for each in said.groups()]
    np.testing.assert_allclose(found, [apart.max() / spread, np.sqrt(np.square(apart).mean()) / spread], rtol=0.06)
    errors = re.search(rf"MSE {number} with float32 codes and {number} with these, of the first 4", outcome.err)
    assert errors, outcome.err
    if raw is None:
        mse = np.square(restored[:4] - np.load(given)[:4, None]).mean(dtype=np.float64)
        np.testing.assert_allclose(float(errors[1]), mse, rtol=1e-4)
    assert float(errors[1]) == pytest.approx(float(errors[2]), rel=0.2)


def test_float32_says_nothing_of_a_cost(infer, tmp_path: Path) -> None:
    plain = infer("encode", "digits[:5]", "-o", tmp_path / "a.npy")
    infer("encode", "digits[:5]", "-o", tmp_path / "b.npy", "--code-dtype", "float32")
    assert "differ" not in plain.err
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@pytest.mark.parametrize(
    ("out", "options", "why"),
    [
        ("codes.csv", ["--code-dtype", "int8"], "a table holds decimal numbers"),
        ("-", ["--code-dtype", "float16"], "a table holds decimal numbers"),
        ("codes.npy", ["--code-dtype", "int8"], "scales beside them"),
        ("codes.npz", ["--code-dtype", "int8", "--shard", "1/2"], "a shard knows a part"),
    ],
)
def test_what_cannot_hold_codes_is_refused(out, options, why, infer, tmp_path: Path) -> None:
    outcome = infer("encode", "digits[:5]", "-o", out if out == "-" else tmp_path / out, *options, code=2)
    assert why in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_shards_of_float16_join_to_what_one_run_writes(ending, infer, call, tmp_path: Path) -> None:
    encode = ["encode", "digits[:3]", "--code-dtype", "float16", "--batch-size", 1]
    infer(*encode, "-o", tmp_path / f"whole.{ending}")
    for number in range(1, 6):  # more shards than images: some are empty
        infer(*encode, "-o", tmp_path / f"codes.{ending}", "--shard", f"{number}/5")
    assert call("infer", "join", tmp_path / f"codes.{ending}").code == 0
    found, whole = (np.load(tmp_path / f"{name}.{ending}") for name in ("codes", "whole"))
    if ending == "npz":
        found, whole = found["codes"], whole["codes"]
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, whole)


def test_code_type_belongs_to_encode_alone(infer, tmp_path: Path) -> None:
    infer("reconstruct", "digits[:2]", "-o", tmp_path / "a.npy", "--code-dtype", "int8", code=2)
