"""export --layout: the graphs of .ort, and layouts of strangers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from aepipe import hookimpl

from tests.helpers.folders import contents


def outputs(path: Path) -> list[np.ndarray]:
    """What a graph makes of random inputs."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    given = {}
    for each in session.get_inputs():
        shape = [side if isinstance(side, int) else 3 for side in each.shape]
        given[each.name] = rng.random(shape, dtype=np.float32)
    return session.run(None, given)


def test_ort_graphs_compute_what_the_bundle_computes(kept_bundle: Path, call, tmp_path: Path):
    done = call("export", kept_bundle, "--layout", "ort", "-o", tmp_path / "phone")
    assert done.code == 0 and done.out == "" and "10 graphs in ONNX Runtime's format" in done.err
    assert len(done.err.splitlines()) == 1
    graphs = json.loads((tmp_path / "phone" / "graphs.json").read_text())["graphs"]
    before = json.loads((kept_bundle / "manifest.json").read_text())["graphs"]
    assert len(graphs) == len(before) == 10
    for ours, theirs in zip(graphs, before, strict=True):
        assert ours["file"] == theirs["file"].replace(".onnx", ".ort") and ours["inputs"] == theirs["inputs"]
        for made, due in zip(
            outputs(tmp_path / "phone" / ours["file"]), outputs(kept_bundle / theirs["file"]), strict=True
        ):
            np.testing.assert_allclose(made, due, rtol=1e-4, atol=1e-4)
    files = contents(tmp_path / "phone")
    assert "required_operators.config" in files and not [name for name in files if name.endswith(".onnx")]
    again = call("export", kept_bundle, "--layout", "ort:platform=amd64", "-o", tmp_path / "phone")
    assert again.code == 0 and contents(tmp_path / "phone").keys() == files.keys()


@pytest.mark.trains
def test_ort_of_a_run_has_its_precisions(colour_run, call, tmp_path: Path):
    done = call(
        "export", colour_run.directory, "--layout", "ort", "--density", "pca", "--io", "uint8", "-o", tmp_path / "x"
    )
    assert done.code == 0, done.err
    assert {"encoder.uint8.ort", "reconstruct.ort", "density/pca/sample.ort"} <= contents(tmp_path / "x").keys()


class Layouts:
    @hookimpl
    def register_layouts(self, register):
        def listing(*, ending: str = "onnx"):
            "The names of the files."

            def fill(bundle, out):
                if ending == "bad":
                    raise ValueError("there is no such ending")
                if ending == "broken":
                    raise KeyError("oh")
                names = sorted(path.name for path in bundle.rglob(f"*.{ending}"))
                if names:
                    (out / "names.txt").write_text(" ".join(names))
                return f"{len(names)} names"

            return fill

        register(listing)


def test_a_layout_of_a_stranger(kept_bundle: Path, call, register, tmp_path: Path, monkeypatch):
    register(Layouts(), "layouts")
    monkeypatch.chdir(tmp_path)
    done = call("export", kept_bundle, "--layout", "listing")
    assert done.code == 0 and "exported/digits-listing: 10 names" in done.err and "next:" not in done.err
    before = contents(tmp_path / "exported/digits-listing")
    assert "encoder.onnx" in (tmp_path / "exported/digits-listing/names.txt").read_text()
    for spec, code, words in (
        ("listing:ending=bad", 2, "there is no such ending"),
        ("listing:ending=broken", 1, "KeyError"),
        ("listing:ending=none", 1, "wrote nothing"),
        ("listing:end=x", 2, "did you mean 'ending'"),
        ("listings", 2, "did you mean 'listing'"),
    ):
        done = call("export", kept_bundle, "--layout", spec, "-o", tmp_path / "exported/digits-listing")
        assert done.code == code and words in done.err and "Traceback" not in done.err
        assert contents(tmp_path / "exported/digits-listing") == before  # what was there stays
    done = call("export", kept_bundle, "--layout", "listing", "--precision", "fp32,int8", "-o", tmp_path / "new")
    assert done.code == 2 and "its graphs stay as they are" in done.err
    done = call("export", kept_bundle, "--layout", "triton", "-o", tmp_path / "exported/digits-listing")
    assert done.code == 2 and "is not a Triton repository" in done.err
