"""Labels in training: every objective and density gets those of its samples, or is refused before any work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import aepipe
import numpy as np
import pytest
import torch
from aepipe import hookimpl
from aepipe.images.labels import class_count, class_labels
from aepipe.images.source import Source
from aepipe.workshop.fit import resume
from aepipe.workshop.run import Run
from aepipe.workshop.training import training_data
from aepipe.workshop.training.model import load_tensors
from aepipe.workshop.training.team import Team
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from tests.helpers.settings import STEADY


class Shades:
    """Images whose grey says their label, which is unknown of one in five; `texts` has other labels."""

    def __init__(self, count: int = 60, turned: int = 0):
        self.known = (np.arange(count) + turned) % 5
        self.images = np.broadcast_to((40 * np.arange(count) % 200)[:, None, None, None], (count, 1, 4, 4)).astype("u1")
        self.images = self.images + (np.arange(16).reshape(4, 4) % 2).astype("u1")

    def load(self, split: str) -> np.ndarray:
        return self.images

    def labels(self, split: str) -> np.ndarray:
        return np.where(self.known == 4, -3, self.known)


class Spy(nn.Module):
    """Notes how far the labels are from those that the target shows, and what else it was given."""

    features_per_latent = 1
    selects = "wrong"

    def code(self, features):
        return features

    def losses(self, features, decode, target, *, labels, images, encode, mean, std, shape):
        shown = (((target * std + mean) * 255).amin((1, 2, 3)) / 40).round()
        expected = torch.where(shown == 4, -1, shown)
        assert shape == (1, 4, 4) and labels.dtype == torch.int64
        assert torch.equal(encode(images), features)
        loss = (decode(features) - target).square().mean()
        spoiled = (images - target).abs().amax((1, 2, 3)).mean()
        return {"loss": loss, "wrong": (labels != expected).float().mean(), "spoiled": spoiled}


class Plugin:
    turned = 0

    @hookimpl
    def register_objectives(self, register):
        register(lambda latent, *, selects="wrong": _selecting(selects), name="spy")

    @hookimpl
    def register_datasets(self, register):
        register(lambda: Shades(turned=self.turned), name="shades")


def _selecting(selects: str) -> Spy:
    spy = Spy()
    spy.selects = selects
    return spy


@pytest.fixture
def plugin(register) -> Plugin:
    made = Plugin()
    register(made, "shades")
    return made


OPTIONS = {**STEADY, "batch_size": 7}


@pytest.mark.trains
@pytest.mark.parametrize("corrupt", [None, "gaussian:sigma=0.1"])
@pytest.mark.parametrize("fits", [True, False])
def test_every_batch_has_its_own_labels(plugin, tmp_path, monkeypatch, fits, corrupt):
    monkeypatch.setattr(training_data, "_fits", lambda *_: fits)
    run = aepipe.fit("shades", out=tmp_path / "run", **OPTIONS, objective="spy", corrupt=corrupt)
    assert [row["wrong"] for row in run.history] == [0, 0]
    assert all((row["spoiled"] > 0) == (corrupt is not None) for row in run.history)
    assert run.classes == 4 and run.config["metrics"]["best_epoch"] == 2  # of equals the last


class Torn:
    """The images of shades, of which two cannot be read."""

    shape = (1, 4, 4)

    def __init__(self):
        self.images = Shades().images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices):
        if {3, 30} & set(indices.tolist()):
            raise aepipe.BadInput("torn", "skip it")
        return self.images[indices]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_the_shares_of_a_team_have_their_own_labels(size: int, batch: int):
    source = Source("shades", Torn(), labels=Shades().labels("train"))
    data = training_data.collect(source, device=torch.device("cpu"), on_cpu=True, seed=0, skip_bad=True, show=False)
    assert len(data.good) == 58
    rows = np.random.default_rng(0).permutation(58)
    for team in (Team(rank, size) for rank in range(size)):
        parts = zip(data.batches(rows, batch, team), data.labels_of(rows, batch, team), strict=True)
        for images, labels in parts:
            shown = (images[:, 0, 0, 0] * 255 / 40).round()
            assert torch.equal(labels, torch.where(shown == 4, -1, shown).long())


@pytest.mark.trains
def test_a_run_that_learns_from_labels_resumes_exactly(tmp_path):
    options = {**OPTIONS, "objective": "supervised:weight=3", "densities": "gmm:components=1,by_class=true"}
    data = "digits:size=8"
    whole = aepipe.fit(data, out=tmp_path / "whole", limit=80, **{**options, "epochs": 3})
    part = aepipe.fit(data, out=tmp_path / "part", limit=80, **{**options, "epochs": 1})
    part = resume(part.directory, epochs=3, show=False)
    for file in ("last.safetensors", "best.safetensors", "density/gmm.safetensors"):
        ours, theirs = (load_tensors(run.directory / file)[0] for run in (part, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs), file


@pytest.mark.trains
def test_other_labels_are_refused_when_a_run_goes_on(plugin, tmp_path):
    run = aepipe.fit("shades", out=tmp_path / "run", **OPTIONS, objective="spy")
    plain = aepipe.fit("shades", out=tmp_path / "plain", **OPTIONS)
    plugin.turned = 1
    with pytest.raises(aepipe.BadInput, match="the labels of shades have changed"):
        resume(run.directory, epochs=3, show=False)
    assert len(resume(plain.directory, epochs=3, show=False).history) == 3  # it never looked at them


@pytest.mark.trains
def test_an_objective_picks_the_best_epoch_by_a_metric_of_its_own(plugin, tmp_path):
    run = aepipe.fit("shades", out=tmp_path / "run", **{**OPTIONS, "epochs": 4}, objective="spy:selects=spoiled")
    assert run.config["metrics"]["best_epoch"] == 4  # all are 0
    with pytest.raises(aepipe.AepipeError, match="picks the best epoch by 'accuracy', and an epoch has: loss, wrong"):
        aepipe.fit("shades", out=tmp_path / "other", **OPTIONS, objective="spy:selects=accuracy")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"objective": "spy"}, "objective 'spy' learns from labels, and array has no labels"),
        ({"objective": "supervised"}, "objective 'supervised': it learns from labels"),
        ({"densities": ["gmm:by_class=true"]}, "by_class=true learns from labels"),
    ],
)
def test_data_without_labels_are_refused_before_training(plugin, tmp_path, wanted, said):
    images = Shades().images
    with pytest.raises(aepipe.BadInput, match=said):
        aepipe.fit(images, layout="NCHW", out=tmp_path / "run", **{**OPTIONS, **wanted})
    np.savez(tmp_path / "named.npz", images=images, labels=np.array(["a", "b"] * 30))
    with pytest.raises(aepipe.BadInput, match=r"no classes|have none"):
        aepipe.fit(str(tmp_path / "named.npz"), layout="NCHW", out=tmp_path / "run", **{**OPTIONS, **wanted})
    assert not (tmp_path / "run").exists()


@given(arrays.arrays(st.sampled_from(["i1", "u1", "i8", "u8", "f4", "f8", "?", "U3"]), st.integers(0, 9)))
def test_labels_are_classes_or_none(labels):
    found = class_labels(labels)
    if found is None:
        assert class_count(found) is None
        return
    assert found.dtype == np.int64 and found.shape == labels.shape and found.min() >= -1
    with np.errstate(invalid="ignore"):
        assert all(own == given if given >= 0 else own == -1 for own, given in zip(found, labels, strict=True))
    assert class_count(found) == found.max() + 1 >= 1


@pytest.mark.trains
@pytest.mark.slow
def test_two_processes_learn_from_labels_as_one_does(tmp_path: Path, call):
    options = ["--data", "digits:size=8", "--limit", "120", "--latent-dim", "2", "--batch-size", "25", "--epochs", "2"]
    options += ["--encoder", "mlp:hidden=16", "--decoder", "mlp:hidden=16", "--precision", "fp32", "--device", "cpu"]
    options += ["--objective", "supervised:weight=5"]
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *several, "-m", "aepipe", "train", *options, "-o", str(tmp_path / "together")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert call("train", *options, "-o", tmp_path / "alone").code == 0
    ours, theirs = (Run(tmp_path / name).history for name in ("together", "alone"))
    for name in ("loss", "cross_entropy", "validation_mse"):
        assert [row[name] for row in ours] == pytest.approx([row[name] for row in theirs], rel=1e-4)
