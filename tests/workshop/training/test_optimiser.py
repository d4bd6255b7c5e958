"""Optimisers, schedules, clipping and averages: what they do, and that a run with any of them resumes exactly."""

from __future__ import annotations

import math
from pathlib import Path

import aepipe
import pytest
import torch
from aepipe import hookimpl
from aepipe.errors import AepipeError, BadInput
from aepipe.workshop.fit import resume
from aepipe.workshop.run import Run
from aepipe.workshop.training.average import Average
from aepipe.workshop.training.model import load_tensors, save_tensors
from torch import nn

from tests.helpers.images import blobs
from tests.helpers.runs import assert_same
from tests.helpers.settings import STEADY

pytestmark = pytest.mark.trains

ONE_STEP = {"epochs": 1, "batch_size": 1000}


def small(out: Path, **options) -> Run:
    return aepipe.fit(blobs(), out=out, **{**STEADY, **options})


class Interrupts:
    """Ctrl-C in the third epoch, before its checkpoint is written."""

    armed = False

    @hookimpl
    def epoch_finished(self, run):
        if self.armed and run.epoch == 3:
            self.armed = False
            raise KeyboardInterrupt


class Odd(torch.optim.Optimizer):
    """Keeps what no optimiser of torch keeps, and steps by all of it."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr, "count": 0, "pair": (0.5, 2)})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["count"] += 1
            for each in group["params"]:
                if each.grad is None:
                    continue
                state = self.state[each]
                if not state:
                    state.update(step=0, rate=1.0, seen=None, past=[], fine=torch.zeros_like(each, dtype=torch.float64))
                    state["nested"] = {"mask": torch.zeros(each.shape, dtype=torch.bool), 7: (1, "a")}
                state["step"] += 1
                state["rate"] *= 0.99
                state["fine"] += each.grad.double() / 3
                state["past"] = [*state["past"], each.grad.clone()][-2:]
                state["nested"]["mask"] |= each.grad > 0
                state["seen"] = bool(state["nested"]["mask"].any())
                move = state["fine"].float() + sum(state["past"]) * state["nested"]["mask"]
                each.sub_(move, alpha=group["lr"] * state["rate"] / math.sqrt(group["count"]) * group["pair"][0])


class Optimisers:
    """Of a stranger: sound ones, and some that cannot be used."""

    @hookimpl
    def register_optimisers(self, register):
        register(Odd, name="odd")
        register(lambda parameters, lr: torch.optim.LBFGS([p for _, p in parameters], lr=lr), name="lbfgs")
        register(lambda parameters, lr: nn.Linear(1, 1), name="layer")
        register(lambda parameters, lr: torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=lr), name="other")
        register(forgets, name="forgets")
        register(scaled)


def forgets(parameters, lr):
    class Forgets(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            self.state[self.param_groups[0]["params"][0]]["kinds"] = {1, 2}

    return Forgets(parameters, lr=lr)


def scaled(parameters, lr, *, encoder: float = 0.5):
    """The encoder at another rate, the decoder's last layer frozen, its first at the full rate.

    encoder: factor on the rate of the encoder
    """
    of_encoder = [(name, each) for name, each in parameters if name.startswith("encoder.")]
    first = [(name, each) for name, each in parameters if name.startswith("decoder.")][:2]
    return torch.optim.SGD([{"params": of_encoder, "lr_scale": encoder}, {"params": first}], lr=lr)


# Resuming


@pytest.mark.parametrize(
    "options",
    [
        {"optimiser": "adamw:weight_decay=0.1"},
        {"optimiser": "sgd:momentum=0.9,nesterov=true", "clip": 0.5},
        {"optimiser": "odd"},
        {"ema": 0.9, "schedule": "onecycle", "warmup": 2, "encoder": "conv:channels=4"},
        {"optimiser": "sgd:momentum=0", "ema": 0.99, "clip": 1, "warmup": 0.2, "corrupt": "gaussian"},
    ],
    ids=lambda options: options.get("optimiser", "ema"),
)
def test_an_interrupted_run_ends_where_the_undisturbed_one_ends(tmp_path, register, options: dict):
    register(Optimisers(), "optimisers")
    options = {**options, "epochs": 4, "lr": 0.01}
    interrupts = Interrupts()
    register(interrupts, "interrupts")
    whole = small(tmp_path / "whole", **options)
    interrupts.armed = True
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "run", **options)
    assert [row["epoch"] for row in Run(tmp_path / "run").history] == [1, 2, 3]
    assert len(resume(tmp_path / "run", blobs(), show=False).history) == 4
    assert_same(tmp_path / "run", whole.directory)
    assert {row["lr"] for row in whole.history} != {0.0}


def test_a_run_of_an_older_aepipe_goes_on(tmp_path):
    """Its run.json names no optimiser, and its checkpoint holds tensors alone."""
    whole, run = small(tmp_path / "whole", epochs=3), small(tmp_path / "run", epochs=2)
    components = {kind: record for kind, record in run.config["components"].items() if kind != "optimiser"}
    recipe = {key: value for key, value in run.config["recipe"].items() if key not in ("warmup", "clip", "ema")}
    run.update(components=components, recipe=recipe)
    tensors, notes = load_tensors(run.directory / "last.safetensors")
    del notes["optimiser"]
    save_tensors(run.directory / "last.safetensors", tensors, notes)
    assert resume(run.directory, blobs(), epochs=3, show=False).finished
    assert_same(run.directory, whole.directory)


def test_a_warm_up_that_is_a_share_has_a_length(tmp_path):
    run = small(tmp_path / "run", warmup=0.5)
    with pytest.raises(BadInput, match=r"warm-up of 0.5 of the steps is that of 2 epochs"):
        resume(run.directory, blobs(), epochs=3)
    steps = small(tmp_path / "steps", warmup=4, epochs=1)
    assert resume(steps.directory, blobs(), epochs=2, show=False).history[-1]["lr"] == 1e-3


# What they do


def moved(run: Run, reference: Run, last: bool = False) -> dict[str, torch.Tensor]:
    """By how much each weight of two runs differs."""
    name = "last" if last else "best"
    ours, theirs = (load_tensors(each.directory / f"{name}.safetensors")[0] for each in (run, reference))
    return {key: ours[key] - theirs[key] for key in theirs}


def test_rates_of_groups_and_frozen_parameters(tmp_path, register):
    register(Optimisers(), "optimisers")
    still = small(tmp_path / "still", optimiser="sgd:momentum=0", lr=1e-30, **ONE_STEP)
    plain = moved(small(tmp_path / "plain", optimiser="sgd:momentum=0", lr=1e-4, **ONE_STEP), still)
    half = moved(small(tmp_path / "half", optimiser="scaled:encoder=0.5", lr=1e-4, **ONE_STEP), still)
    encoder = next(name for name in sorted(plain) if name.startswith("encoder.") and plain[name].any())
    # A file of safetensors gives its tensors in no order.
    first, last = sorted(name for name in plain if name.startswith("decoder.") and name.endswith("weight"))
    torch.testing.assert_close(half[encoder], plain[encoder] / 2, rtol=1e-2, atol=1e-7)
    torch.testing.assert_close(half[first], plain[first], rtol=1e-2, atol=1e-7)
    assert plain[last].any() and not half[last].any()


def test_a_gradient_is_clipped_to_its_norm(tmp_path):
    recipe = {"optimiser": "sgd:momentum=0", "lr": 1.0, **ONE_STEP}
    still = small(tmp_path / "still", **{**recipe, "lr": 1e-30})
    clipped = moved(small(tmp_path / "clipped", clip=0.01, **recipe), still)
    norm = torch.cat([each.flatten() for each in clipped.values()]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)
    recipe["lr"] = 1e-3
    large = moved(small(tmp_path / "large", clip=1e6, **recipe), small(tmp_path / "none", **recipe))
    assert not any(each.any() for each in large.values())


def test_the_average_is_what_its_formula_says():
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    average, expected = Average(layer, 0.5), layer.weight.detach().clone()
    for step in range(12):
        with torch.no_grad():
            layer.weight += torch.randn(2, 3)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    torch.testing.assert_close(average.weights["weight"], expected)
    before = layer.weight.detach().clone()
    with average.in_place():
        assert torch.equal(layer.weight, expected) or torch.allclose(layer.weight, expected)
    assert torch.equal(layer.weight, before)


def test_the_average_is_validated_kept_and_exported(tmp_path):
    run = small(tmp_path / "run", ema=0.95, epochs=3, lr=0.03)
    last = load_tensors(run.directory / "last.safetensors")[0]
    best = load_tensors(run.directory / "best.safetensors")[0]
    rows = run.history
    assert rows[-1]["validation_mse"] == min(row["validation_mse"] for row in rows), "the best epoch is to be the last"
    averaged = [name.removeprefix("average.") for name in last if name.startswith("average.")]
    assert averaged and all(torch.equal(best[name], last[f"average.{name}"]) for name in averaged)
    assert not any(torch.equal(best[name], last[f"model.{name}"]) for name in averaged)
    images = run.heldout().astype("float32") / 255
    made = run.model()
    with torch.no_grad():
        expected = made.decode(made.encode(torch.from_numpy(images)))
    error = float((expected - torch.from_numpy(images)).square().mean())
    assert error == pytest.approx(rows[-1]["validation_mse"], rel=1e-4)
    bundle = aepipe.load(run.export(tmp_path / "bundle", show=False), provider="cpu")
    torch.testing.assert_close(torch.from_numpy(bundle.reconstruct(images)), expected, rtol=0, atol=1e-5)
    trained = aepipe.load(tmp_path / "bundle", provider="cpu").bundle.trained
    assert trained["ema"] == 0.95 and "optimiser" not in trained and "clip" not in trained


# What is refused


@pytest.mark.parametrize(
    ("optimiser", "kind", "said"),
    [
        ("lbfgs", BadInput, "optimiser 'lbfgs' computes the loss several times a step"),
        ("layer", AepipeError, "made a Linear, where an optimiser of torch is needed"),
        ("other", AepipeError, "trains parameters that it was not given"),
        ("sgd:nesterov=true,momentum=0", BadInput, "nesterov needs a momentum"),
        ("adam:beta1=2", BadInput, "beta"),
        ("adm", BadInput, "unknown optimiser 'adm'"),
    ],
)
def test_optimisers_that_are_refused_before_anything_is_written(tmp_path, register, optimiser, kind, said):
    register(Optimisers(), "optimisers")
    with pytest.raises(kind, match=said) as caught:
        small(tmp_path / "run", optimiser=optimiser)
    assert type(caught.value) is kind and caught.value.hint and not (tmp_path / "run").exists()


def test_a_state_that_cannot_be_saved_is_refused_after_the_first_step(tmp_path, register):
    register(Optimisers(), "optimisers")
    with pytest.raises(AepipeError, match=r"'forgets' keeps a set \(0.kinds\) in its state, which cannot be saved"):
        small(tmp_path / "run", optimiser="forgets")
    assert not (tmp_path / "run" / "last.safetensors").exists()
