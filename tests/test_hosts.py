"""exported/hosts: each program agrees with aepipe's own runtime, where its tools are; and says what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HOSTS = Path(__file__).resolve().parents[1] / "exported/hosts"
if not HOSTS.is_dir():
    pytest.skip("the hosts are not in this copy", allow_module_level=True)
sys.path.insert(0, str(HOSTS))
import compare  # noqa: E402


@pytest.fixture(scope="module", params=list(compare.HOSTS))
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> compare.Host:
    """Installed or built once."""
    try:
        return compare.HOSTS[request.param](tmp_path_factory.mktemp(request.param))
    except compare.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def examples(digits_bundle: Path):
    return compare.examples(digits_bundle)


def refused(host: compare.Host, bundle: Path, task: str, values: np.ndarray, folder: Path) -> str:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        compare.call(host, bundle, task, values, folder)
    assert not (folder / "out.npy").exists()
    return failure.value.stderr


def test_it_agrees_with_aepipes_runtime(host, digits_bundle, examples, tmp_path):
    assert sorted(examples) == ["decode", "encode", "interpolate", "reconstruct", "sample"]
    for task, (values, expected) in examples.items():
        found = compare.call(host, digits_bundle, task, values, tmp_path)
        assert compare.difference(task, expected, found) <= (1e-4 if task == "encode" else 1e-5), task


def test_it_takes_the_fp32_graphs_by_the_manifest_wherever_they_lie(host, digits_bundle, examples, tmp_path):
    moved = shutil.copytree(digits_bundle, tmp_path / "moved")
    manifest = json.loads((moved / "manifest.json").read_text())
    (encoder,) = (graph for graph in manifest["graphs"] if graph["role"] == "encoder")
    (moved / "encoder.onnx").rename(moved / "first half.onnx")
    manifest["graphs"].insert(0, {**encoder, "precision": "int8", "file": "absent.onnx"})
    encoder["file"] = "first half.onnx"
    manifest["note"] = 'unknown keys are ignored: "}]'
    (moved / "manifest.json").write_text(json.dumps(manifest, indent=1))
    images, codes = examples["encode"]
    assert compare.difference("encode", codes, compare.call(host, moved, "encode", images, tmp_path)) <= 1e-4


def test_it_refuses_what_it_would_misread(host, digits_bundle, examples, tmp_path):
    codes = examples["decode"][0]
    assert "float32" in refused(host, digits_bundle, "decode", codes.astype(np.float64), tmp_path)
    assert "2 images" in refused(host, digits_bundle, "interpolate", examples["encode"][0], tmp_path)
    assert "no task" in refused(host, digits_bundle, "encoder", codes, tmp_path)
    newer = tmp_path / "newer"
    shutil.copytree(digits_bundle, newer)
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    assert "format" in refused(host, newer, "decode", codes, tmp_path)


def test_the_table_says_what_was_tried_and_why_not(digits_bundle, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))  # no node, no compiler
    compare.main(str(digits_bundle))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(compare.HOSTS) and all(line.count("|") == 6 for line in lines)
    python, node, cpp = lines[2:]
    assert "onnxruntime" in python and "not tried" not in python
    assert "not tried: there is no node, or no npm" in node and "not tried: there is no g++" in cpp
