"""From a run to a bundle: what is in it, the command, disasters on the way."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe import cli as commands
from aepipe.workshop.run import Run
from PIL import Image

from tests.helpers.bundles import manifest_of
from tests.helpers.commands import refused
from tests.helpers.folders import contents
from tests.helpers.images import blobs
from tests.helpers.settings import SMALL

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> Path:
    return aepipe.fit(blobs(), out=tmp_path_factory.mktemp("runs") / "small", **SMALL).directory


@pytest.fixture(scope="module")
def small_bundle(small_run: Path, tmp_path_factory) -> Path:
    return Run(small_run).export(tmp_path_factory.mktemp("exported") / "small", show=False)


# The folder


DENSITY = ("sample", "log_prob", "noise")


def test_the_files_of_a_bundle(digits_bundle: Path):
    graphs = {f"density/{name}/{role}.onnx" for name, role in product(("gaussian", "pca"), DENSITY)}
    expected = {"manifest.json", "encoder.onnx", "decoder.onnx", "codes.npz", "README.md", "preview.png", *graphs}
    assert set(contents(digits_bundle)) == expected
    assert [path.name for path in digits_bundle.parent.iterdir()] == [digits_bundle.name]  # no temporary folder


def test_the_manifest(digits_bundle: Path, digits_run):
    m = manifest_of(digits_bundle)
    assert m["format"] == 1 and m["name"] == digits_bundle.name and m["aepipe"] == aepipe.__version__
    assert m["image"] == {"shape": [1, 28, 28], "range": [0, 1]} and m["latent"] == 4
    assert m["densities"] == ["gaussian", "pca"] and m["minimum_onnxruntime"] == "1.18.0"
    assert m["components"]["encoder"] == digits_run.config["components"]["encoder"]
    assert m["components"]["densities"]["pca"]["options"] == {"components": None}
    assert m["trained"]["data"] == "digits" and m["trained"]["task"] == "reconstruct" and m["trained"]["epochs"] == 2
    assert m["metrics"] == digits_run.config["metrics"] and m["metrics"]["count"] == 359
    by_role = {(graph["role"], graph.get("density")): graph for graph in m["graphs"]}
    assert list(by_role)[:2] == [("encoder", None), ("decoder", None)] and len(by_role) == 8
    encoder = by_role["encoder", None]
    image = {"image": {"dtype": "float32", "layout": "NCHW", "shape": ["batch", 1, 28, 28]}}
    latent = {"latent": {"dtype": "float32", "shape": ["batch", 4]}}
    assert (encoder["inputs"], encoder["outputs"]) == (image, latent)
    assert (encoder["precision"], encoder["io"], encoder["file"]) == ("fp32", "float", "encoder.onnx")
    assert by_role["decoder", None]["inputs"] == latent and by_role["decoder", None]["outputs"] == image
    assert by_role["log_prob", "pca"]["outputs"] == {"log_prob": {"dtype": "float32", "shape": ["batch"]}}
    for graph in m["graphs"]:
        content = (digits_bundle / graph["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == graph["sha256"]


def test_the_parity_report(digits_bundle: Path):
    parity = manifest_of(digits_bundle)["parity"]
    densities = {f"{name}/{role}" for name, role in product(("gaussian", "pca"), DENSITY)}
    assert parity.keys() == {"latent", "image", "round_trip", *densities}
    assert 0 < parity["image"] <= 1e-5 and 0 < parity["round_trip"] <= 1e-5
    assert all(difference <= 1e-4 for difference in parity.values())


def test_codes_labels_card_and_preview(digits_bundle: Path, digits_run):
    with np.load(digits_bundle / "codes.npz") as arrays:
        codes, labels = digits_run.codes()
        assert np.array_equal(arrays["codes"], codes) and np.array_equal(arrays["labels"], labels)
    card = (digits_bundle / "README.md").read_text()
    m = manifest_of(digits_bundle)
    for said in (f"{m['metrics']['mse']:.5f}", "`conv:channels=32`", "`decoder.onnx`", "preview.png", "seed 0"):
        assert said in card
    with Image.open(digits_bundle / "preview.png") as preview:
        assert min(preview.size) > 200 and len(preview.convert("L").getcolors(256)) > 50


# The command


def test_export_of_a_run(small_run: Path, tmp_path, monkeypatch, capsys):
    shutil.copytree(small_run, tmp_path / "runs" / "mine")
    monkeypatch.chdir(tmp_path)
    assert Run("runs/mine").fit_density("few=pca:components=1") == "few"
    assert commands.run(["export", "runs/mine"]) == 0
    assert "next: aepipe infer sample exported/mine" in capsys.readouterr().err
    m = manifest_of(tmp_path / "exported" / "mine")
    assert m["densities"] == ["gaussian", "pca", "few"] and m["name"] == "mine"
    assert (tmp_path / "exported/mine/density/few/sample.onnx").exists()
    assert m["components"]["densities"]["few"]["options"] == {"components": 1}
    assert not list((tmp_path / "exported").glob(".*"))
    without = [word for label in m["densities"] for word in ("--without", label)]
    assert commands.run(["export", "runs/mine", "--overwrite", *without]) == 0
    assert (
        "next: aepipe infer reconstruct exported/mine IMAGES" in capsys.readouterr().err
    )  # there is nothing to sample


def test_an_unfinished_run_is_refused(small_run: Path, tmp_path, capsys):
    shutil.copytree(small_run, tmp_path / "run")
    Run(tmp_path / "run").update(finished=False)
    said = refused(capsys, "export", tmp_path / "run", "-o", tmp_path / "out")
    assert f"aepipe train --resume {tmp_path / 'run'}" in said and not (tmp_path / "out").exists()


def test_what_is_no_bundle_is_not_replaced(small_run: Path, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    (tmp_path / "file").write_text("")
    for out in ("mine", "file"):
        assert "exists and is not a bundle" in refused(capsys, "export", small_run, "-o", tmp_path / out)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "mine", "thesis.tex"]
    assert "is the input itself" in refused(capsys, "export", small_run, "-o", small_run)


def test_a_damaged_run_is_named(small_run: Path, tmp_path, capsys):
    for name in ("best.safetensors", "codes.npz", "heldout.npz", "density/pca.safetensors"):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(small_run, tmp_path / "run")
        path = tmp_path / "run" / name
        path.write_bytes(path.read_bytes()[:50])
        assert path.name in refused(capsys, "export", tmp_path / "run", "-o", tmp_path / "out")
        path.unlink()
        assert path.name in refused(capsys, "export", tmp_path / "run", "-o", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_an_old_bundle_is_replaced(small_run: Path, small_bundle: Path, digits_bundle: Path, tmp_path):
    out = Path(shutil.copytree(small_bundle, tmp_path / "out"))
    pair = manifest_of(out)["pair"]
    (out / "stray.txt").write_text("mine")
    (out / "density" / "notes").mkdir()
    (out / "encoder.onnx").write_bytes(b"damaged")
    Run(small_run).export(out, show=False)
    assert (out / "stray.txt").read_text() == "mine" and (out / "density" / "notes").is_dir()
    assert aepipe.load(out, "cpu").encode(blobs()).shape == (80, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert manifest_of(out)["pair"] == pair != manifest_of(digits_bundle)["pair"]


# Killed in the middle, disk full: one process that forks for each

DISASTERS = """
import os, resource, signal, sys
os.environ["OMP_NUM_THREADS"] = "1"
from aepipe import cli
from aepipe.files.ours import OwnFolder
from aepipe.workshop.export import export

def child(prepare):
    pid = os.fork()
    if pid == 0:
        prepare()
        os._exit(cli.run(["export", sys.argv[1], "-o", sys.argv[2]]))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def full(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def killed(owner, name):
    return lambda: setattr(owner, name, lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))

assert cli.run(["export", sys.argv[1], "-o", sys.argv[2] + "-warm-up"]) == 0  # what is imported late is imported once
for size in map(int, sys.argv[3:]):
    assert child(full(size)) == 1, size
print([name for name in os.listdir(os.path.dirname(sys.argv[2])) if name.startswith(".")])
assert child(killed(export, "check_learned")) == -9
assert child(killed(OwnFolder, "_take_over")) == -9
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_disasters_leave_the_old_bundle(small_run: Path, small_bundle: Path, tmp_path):
    out = Path(shutil.copytree(small_bundle, tmp_path / "out"))
    sizes = sorted(len(content) for content in contents(out).values())
    before = contents(out)
    limits = [str(sizes[0] // 2), str(sizes[-1] // 2)]
    program = [sys.executable, "-c", DISASTERS, str(small_run), str(out), *limits]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"  # a full disk leaves nothing behind
    assert "Traceback" not in done.stderr
    assert done.stderr.count(f"error: Cannot write {out}") == len(limits) == done.stderr.count("hint: free some space")
    assert contents(out) == before


def test_a_denoiser_shows_what_it_restores(small_bundle: Path, tmp_path):
    run = aepipe.fit(blobs(), out=tmp_path / "run", corrupt="gaussian:sigma=0.3", **SMALL)
    out = run.export(tmp_path / "out", show=False)
    trained = manifest_of(out)["trained"]
    assert trained["task"] == "denoise" and trained["corruption"] == {
        "name": "gaussian",
        "options": {"sigma": 0.3, "clip": True},
    }
    assert manifest_of(out)["metrics"]["mse_input"] > 0.01
    with Image.open(out / "preview.png") as ours, Image.open(small_bundle / "preview.png") as theirs:
        assert ours.height > theirs.height  # a row more: original, spoiled, restored
    assert (
        "`denoise (gaussian:sigma=0.3)`" in (out / "README.md").read_text()
        or "denoise (gaussian" in (out / "README.md").read_text()
    )


# Which densities, and what a bundle may take the place of


def test_a_bundle_gets_the_densities_that_are_chosen(small_run: Path, tmp_path, capsys):
    def densities(*options: str) -> list[str]:
        assert commands.run(["export", str(small_run), "-o", str(tmp_path / "out"), *options]) == 0
        return manifest_of(tmp_path / "out")["densities"]

    assert densities() == ["gaussian", "pca"]
    capsys.readouterr()
    assert densities("--density", "pca") == ["pca"]
    said = capsys.readouterr().err
    assert "has these graphs no more: density/gaussian/log_prob.onnx" in said and "density/pca" not in said
    assert not (tmp_path / "out" / "density" / "gaussian").exists()
    assert densities("--density", "pca", "--density", "gaussian") == ["pca", "gaussian"]
    assert densities("--without", "pca") == ["gaussian"]
    assert densities("--without", "pca", "--without", "gaussian") == []
    both = ("export", small_run, "-o", tmp_path / "none", "--density", "pca", "--without", "gaussian")
    assert "--without gaussian belongs to a density that is exported" in refused(capsys, *both)
    for option in ("--density", "--without"):
        said = refused(capsys, "export", small_run, "-o", tmp_path / "none", option, "gausian")
        assert "no density 'gausian'" in said and "did you mean 'gaussian'?" in said
    assert not (tmp_path / "none").exists()
    out = Run(small_run).export(tmp_path / "python", densities="pca", show=False)
    assert manifest_of(out)["densities"] == ["pca"]


def test_a_richer_bundle_is_replaced_only_on_demand(small_run: Path, tmp_path, capsys):
    typed = ("export", small_run, "-o", tmp_path / "out")
    Run(small_run).export(tmp_path / "out", precision="fp16", io="uint8", max_drop=9.0, show=False)
    before = contents(tmp_path / "out")
    said = refused(capsys, *typed)
    assert "encoder.fp16.onnx" in said and "generate/pca.onnx" in said and "--overwrite" in said
    assert "--precision fp32,fp16 --io uint8" in said
    assert "encoder.fp16.onnx" in refused(capsys, *typed, "--io", "uint8")
    assert "reconstruct.onnx" in refused(capsys, *typed, "--precision", "fp16", "--max-drop", "9")
    with pytest.raises(aepipe.BadInput, match="would not have"):
        Run(small_run).export(tmp_path / "out", show=False)
    assert contents(tmp_path / "out") == before
    assert commands.run([*map(str, typed), "--overwrite"]) == 0
    said = capsys.readouterr().err
    assert "has these graphs no more" in said and "decoder.fp16.onnx" in said and "interpolate.onnx" in said
    assert not (tmp_path / "out" / "reconstruct.onnx").exists()
