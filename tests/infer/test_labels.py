"""Bundles whose densities are told a class, or lack what others have: at work, on the command line and in other programs."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import aepipe
import numpy as np
import onnxruntime
import pytest
from aepipe import hookimpl
from aepipe.bundle.reader import Bundle
from aepipe.images.data import open_images
from aepipe.judging import anomaly
from aepipe.runtime.labels import drawn_labels

from tests.helpers.places import ROOT

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Path:
    """Digits of size 8, d=6: a classifier, a density without classes and one with; no 9 trained it."""
    home = tmp_path_factory.mktemp("told")
    source = open_images("digits:size=8", split="train")
    images, labels = source.read(np.arange(500)), source.labels[:500]
    labels = np.where(np.arange(500) % 50 == 0, -1, labels)  # a few are unknown
    np.savez(home / "digits.npz", images=images[labels != 9], labels=np.append(labels[labels != 9][:-1], 10))
    networks = {"encoder": "mlp:hidden=64", "decoder": "mlp:hidden=64", "latent_dim": 6}
    run = aepipe.fit(
        str(home / "digits.npz"),
        **networks,
        epochs=25,
        batch_size=20,
        objective="supervised:weight=20",
        densities=["gaussian", "gmm:components=2,by_class=true"],
        out=home / "run",
        show=False,
    )
    return run.export(home / "bundle", io="float,uint8", show=False)


@pytest.fixture(scope="module")
def model(told: Path):
    with aepipe.load(told, provider="cpu") as opened:
        yield opened


def test_the_manifest_says_what_is_told_a_class(told: Path) -> None:
    manifest = json.loads((told / "manifest.json").read_text())
    assert (manifest["format"], manifest["classes"]) == (2, 11)
    label = {"dtype": "int64", "shape": ["batch"]}
    given = {(each["role"], each.get("density")): each["inputs"].get("label") for each in manifest["graphs"]}
    named = {key for key, value in given.items() if value == label}
    assert named == {("sample", "gmm"), ("log_prob", "gmm"), ("generate", "gmm")}
    (output,) = [each for each in manifest["graphs"] if each["role"] == "output"]
    assert output["outputs"] == {"class": {"dtype": "float32", "shape": ["batch", 11]}}
    assert {"gmm/sample", "gmm/log_prob", "generate/gmm", "output"} - {*manifest["parity"]} <= {"generate/gmm"}
    counts = manifest["trained"]["labels"]
    assert len(counts) == 11 and counts[9] == 0 and sum(counts) < manifest["trained"]["images"]
    assert "`label` is a class, 0 to 10" in (told / "README.md").read_text()


def test_samples_are_of_the_class_that_was_asked_for(model) -> None:
    for label in (0, 1, 7):
        codes = np.concatenate(list(model.sample_codes(60, seed=1, label=label)))
        assert (model.outputs(codes)["class"].argmax(1) == label).mean() > 0.8, label
    mixed = np.arange(6) % 3
    together = model.sample(6, "gmm", seed=3, label=mixed)
    for label in range(3):
        alone = model.sample(6, "gmm", seed=3, label=label)
        np.testing.assert_allclose(together[mixed == label], alone[mixed == label], atol=1e-6)


def test_the_output_tells_classes(model) -> None:
    source = open_images("digits:size=8", split="test")
    images, labels = source.read(np.arange(len(source))), source.labels
    found = model.outputs(model.encode(images))["class"].argmax(1)
    assert (found == labels)[labels != 9].mean() > 0.8


def test_without_a_label_classes_are_as_frequent_as_in_training(model) -> None:
    shares = model.bundle.class_shares
    drawn = drawn_labels(model.bundle, 5, range(20_000))
    np.testing.assert_allclose(np.bincount(drawn, minlength=11) / 20_000, shares, atol=0.012)
    np.testing.assert_array_equal(drawn_labels(model.bundle, 5, range(700, 900)), drawn[700:900])
    whole = model.sample(9, "gmm", seed=5)
    np.testing.assert_allclose(whole, model.sample(9, "gmm", seed=5, label=drawn[:9]), atol=1e-6)
    with aepipe.load(model.bundle.directory, provider="cpu", batch_size=4) as small:
        np.testing.assert_allclose(whole, small.sample(9, "gmm", seed=5), atol=1e-6)


def test_the_density_of_all_classes_is_their_weighted_mean(model) -> None:
    codes = model.bundle.codes()[0][:50]
    shares = model.bundle.class_shares
    parts = [np.log(share) + model.log_prob(codes, "gmm", label) for label, share in enumerate(shares) if share]
    np.testing.assert_allclose(model.log_prob(codes, "gmm"), np.logaddexp.reduce(parts), rtol=1e-5, atol=1e-5)
    labels = np.arange(50) % 9
    mixed = model.log_prob(codes, "gmm", labels)
    np.testing.assert_allclose(mixed[labels == 4], model.log_prob(codes, "gmm", 4)[labels == 4], rtol=1e-5)


@pytest.mark.parametrize(
    ("density", "label", "said"),
    [
        ("gmm", 11, "there is no label 11"),
        ("gmm", -1, "there is no label -1"),
        ("gmm", 9, "no training sample has the label 9"),
        ("gmm", 2.0, r"2\.0 is no label"),
        ("gmm", "two", "'two' is no label"),
        ("gmm", [1, 2], "not one for each of 3 samples"),
        ("gaussian", 1, "the density 'gaussian' of bundle takes no label"),
    ],
)
def test_labels_that_are_not_there_are_refused(model, density, label, said) -> None:
    with pytest.raises(aepipe.BadInput, match=said):
        model.sample(3, density, label=label)
    with pytest.raises(aepipe.BadInput, match=said):
        model.log_prob(model.bundle.codes()[0][:3], density, label=label)


def test_the_command_line(told: Path, model, call, tmp_path: Path) -> None:
    infer = ("infer", "--provider", "cpu")
    done = call(*infer, "sample", told, "-o", tmp_path / "sevens.npy", "--count", 7, "--label", 7, "--seed", 2)
    assert done.code == 0 and "note" not in done.err  # the first density is told no class, and the second one is taken
    np.testing.assert_allclose(np.load(tmp_path / "sevens.npy"), model.sample(7, "gmm", 2, 7), atol=1e-6)
    gmm = ("--density", "gmm", "--count", 7, "--seed", 2)
    for shard in ("1/3", "2/3", "3/3"):
        done = call(*infer, "sample", told, "-o", tmp_path / "any.npy", *gmm, "--shard", shard)
        assert done.code == 0 and "as often as the training data have them" in done.err
    assert call("infer", "join", tmp_path / "any.npy").code == 0
    np.testing.assert_allclose(np.load(tmp_path / "any.npy"), model.sample(7, "gmm", 2), atol=1e-6)
    assert call(*infer, "sample", told, "-o", tmp_path / "sheet.png", *gmm).code == 0
    done = call(*infer, "sample", told, "-o", tmp_path / "none.png", "--label", 1, "--density", "gaussian")
    assert done.code == 2 and "takes no label" in done.err and "with a label: gmm" in done.err
    images = "digits:size=8[:5]"
    for label, wanted in ((None, None), (3, 3)):
        options = ("--density", "gmm") if label is None else ("--label", label)
        done = call(*infer, "score", told, images, "-o", "-", *options)
        assert done.code == 0, done.err
        scores = [float(row["log_density"]) for row in csv.DictReader(done.out.splitlines())]
        np.testing.assert_allclose(scores, model.score(images, "gmm", wanted)["log_density"], rtol=1e-4)
    done = call(*infer, "score", told, "--calibrate", images, "--label", 1, "-o", tmp_path / "usual.json")
    assert done.code == 2 and "of all classes" in done.err
    assert "gmm (with label)" in call("inspect", told).out


def test_other_programs_are_told_the_class(told: Path, model, call, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((13, 7), np.float32)
    labels = np.arange(13) % 9
    wanted = model.decode(model.from_noise(noise, "gmm", labels))
    generate = onnxruntime.InferenceSession(told / "generate" / "gmm.onnx", providers=["CPUExecutionProvider"])
    (made,) = generate.run(None, {"noise": noise, "label": labels})
    np.testing.assert_allclose(made, wanted, atol=1e-5)
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

    assert call("export", told, "--layout", "triton", "-o", tmp_path / "models").code == 0
    config = text_format.Parse((tmp_path / "models" / "generate_gmm" / "config.pbtxt").read_text(), ModelConfig())
    given = {each.name: each for each in config.input}
    assert given["label"].data_type == DataType.Value("TYPE_INT64")
    assert list(given["label"].dims) == [1] and given["label"].HasField("reshape")

    host = ROOT / "exported" / "hosts" / "python"
    np.save(tmp_path / "noise.npy", noise[:, :6])
    files = (tmp_path / "noise.npy", tmp_path / "made.npy")
    for command in (("host.py", told, "sample", *files), ("check.py", told)):
        done = subprocess.run([sys.executable, *map(str, command)], cwd=host, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout
    np.testing.assert_allclose(np.load(files[1]), model.decode(model.from_noise(noise[:, :6], "gaussian")), atol=1e-5)
    assert "log_density gmm" in done.stdout


def test_a_label_without_a_number_of_classes_is_refused(told: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(told, tmp_path / "bundle"))
    manifest = json.loads((changed / "manifest.json").read_text())
    for change, said in (
        ({"classes": None}, "the number of classes is missing"),
        ({"classes": 2**30}, "absurd number of classes"),
    ):
        (changed / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(aepipe.BadInput, match=said):
            Bundle(changed)
    for counts in ([1, 2], "many", [0] * 11, [-1] * 11, [0.5] * 11):
        manifest["trained"]["labels"] = counts
        (changed / "manifest.json").write_text(json.dumps(manifest))
        np.testing.assert_allclose(Bundle(changed).class_shares, 1 / 11)


def test_the_page_offers_the_labels(told: Path, web_files, tmp_path: Path) -> None:
    from aepipe.explore.page import write_explorer

    write_explorer(told, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    text = page.partition('<script type="application/json" id="bundle">')[2].partition("</script>")[0]
    content = json.loads(text)
    assert [each["label"] for each in content["densities"]] == [False, True]
    np.testing.assert_allclose(content["shares"], Bundle(told).class_shares, atol=1e-6)


# Densities that lack something


class Lacking:
    """`dice` draws codes from a few, and gives their probabilities; `urn` draws, and gives nothing."""

    @hookimpl
    def register_densities(self, register):
        register(_urn, name="urn")
        register(_dice, name="dice")


def _urn(latent, *, classes: int | None = None):
    import torch
    from torch import nn

    class Urn(nn.Module):
        noise_features = 1

        def __init__(self):
            super().__init__()
            self.register_buffer("kept", torch.zeros(4, latent))

        def fit(self, codes):
            self.kept.copy_(codes[:4])

        def sample(self, noise):
            return self.kept[(2 * noise[:, 0] + 2).clamp(0, 3).long()]

    return Urn()


def _dice(latent):
    import math

    import torch

    inner = _urn(latent)

    class Dice(type(inner)):
        discrete = True

        def log_prob(self, codes):
            near = (codes[:, None] - self.kept).square().sum(2).amin(1) < 1e-6
            return torch.where(near, -math.log(4.0), -50.0)

    return Dice()


@pytest.fixture(scope="module")
def lacking(tmp_path_factory) -> Path:
    from aepipe import plugins

    added = plugins.registry().register(Lacking(), "lacking")
    home = tmp_path_factory.mktemp("lacking")
    options = {"encoder": "pca", "decoder": "pca", "latent_dim": 3, "show": False, "limit": 200}
    run = aepipe.fit("digits:size=8", **options, densities=["urn", "dice"], out=home / "run")
    bundle = run.export(home / "bundle", show=False)
    plugins.registry().unregister(added)
    return bundle


def test_what_a_density_lacks_is_said(lacking: Path, call, tmp_path: Path) -> None:
    graphs = {graph.name: graph for graph in Bundle(lacking).graphs}
    assert "urn/log_prob" not in graphs and graphs["dice/log_prob"].discrete
    card = (lacking / "README.md").read_text()
    assert "`urn` gives samples and no log-densities" in card and "of `dice` is the logarithm of a probability" in card
    assert "urn (no log_prob)" in call("inspect", lacking).out
    infer = ("infer", "--provider", "cpu")
    assert call(*infer, "sample", lacking, "-o", tmp_path / "urn.png", "--count", 4).code == 0
    done = call(*infer, "score", lacking, "digits:size=8[:3]", "-o", "-")
    assert done.code == 0 and "logarithms of probabilities" in done.err and "log_density" in done.out
    done = call(*infer, "score", lacking, "digits:size=8[:3]", "-o", "-", "--density", "urn")
    assert done.code == 2 and "the density 'urn' of bundle gives no log-densities" in done.err
    evaluated = call(
        "eval", lacking, "--data", "digits:size=8", "--provider", "cpu", "--normal", 3, "--density", "dice"
    )
    assert evaluated.code == 0 and "AUROC log_density" in evaluated.out


def test_without_log_densities_the_error_alone_decides(lacking: Path, call, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(lacking, tmp_path / "bundle"))
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["densities"] = ["urn"]
    manifest["graphs"] = [each for each in manifest["graphs"] if each.get("density") != "dice"]
    (changed / "manifest.json").write_text(json.dumps(manifest))
    infer = ("infer", "--provider", "cpu", "score", changed)
    usual = tmp_path / "usual.json"
    assert call(*infer, "--calibrate", "digits:size=8[:60]", "-o", usual).code == 0
    noise = np.random.default_rng(0).random((20, 8, 8), np.float32)
    np.save(tmp_path / "noise.npy", noise)
    done = call(*infer, tmp_path / "noise.npy", "--calibration", usual, "-o", "-")
    assert done.code == 0 and "no density with log_prob (urn)" not in done.err
    rows = list(csv.DictReader(done.out.splitlines()))
    assert list(rows[0]) == ["index", "error", "anomaly", "alarm"] and all(row["alarm"] == "1" for row in rows)
    done = call(*infer, "digits:size=8[:3]", "-o", "-")
    assert done.code == 0 and "no density with log_prob (urn)" in done.err and "log_density" not in done.out
    done = call("eval", changed, "--data", "digits:size=8", "--provider", "cpu", "--normal", 3, "--json")
    assert json.loads(done.out)["auroc"]["log_density"] is None
    with aepipe.load(changed, provider="cpu") as model:
        assert anomaly.read(usual, model).density is None
        with pytest.raises(aepipe.BadInput, match="gives log-densities"):
            model.log_prob(np.zeros((1, 3), np.float32))
        with pytest.raises(aepipe.BadInput, match="no output graph"):
            model.outputs(np.zeros((1, 3), np.float32))
