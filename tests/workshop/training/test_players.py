"""Players: parts of an objective that are trained on their own loss, beside the rest, in one run that resumes exactly."""

from __future__ import annotations

import aepipe
import numpy as np
import pytest
import torch
from aepipe.errors import AepipeError
from aepipe.workshop.fit import resume
from aepipe.workshop.training.model import load_tensors
from aepipe.workshop.training.players import backward, shares_of

from tests.helpers.adversarial import Adversarial, Objectives
from tests.helpers.images import blobs
from tests.helpers.runs import assert_same
from tests.helpers.settings import STEADY

pytestmark = pytest.mark.trains


@pytest.fixture(autouse=True)
def objectives(register):
    register(Objectives(), "objectives")


def test_every_parameter_gets_the_gradient_of_its_own_loss_alone():
    torch.manual_seed(0)
    objective, encoder, decoder = Adversarial(2, noisy=False), torch.nn.Linear(3, 2), torch.nn.Linear(2, 3)
    parameters = [*encoder.parameters(), *objective.parameters(), *decoder.parameters()]
    shares = shares_of(objective, parameters)
    assert {name: len(share) for name, share in shares.items()} == {"loss": 4, "critic": 4}
    images = torch.randn(5, 3)

    def losses():
        return objective.losses(encoder(images), decoder, images)

    backward(losses(), shares)
    for name, share in shares.items():
        expected = torch.autograd.grad(losses()[name], share)
        for parameter, gradient in zip(share, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
            assert gradient.any()
    # The gradient of "loss" reaches the critic too: what was kept from it is not nothing.
    assert all(each.any() for each in torch.autograd.grad(losses()["loss"], shares["critic"]))


@pytest.mark.parametrize("more", [{}, {"optimiser": "adamw", "ema": 0.9, "clip": 1.0}], ids=["adam", "adamw"])
def test_a_run_with_an_adversary_resumes_exactly(tmp_path, more: dict):
    options = {**STEADY, "objective": "adversarial", "lr": 0.01, **more}
    whole = aepipe.fit(blobs(), out=tmp_path / "whole", **{**options, "epochs": 4})
    half = aepipe.fit(blobs(), out=tmp_path / "half", **options)
    assert_same(resume(half.directory, blobs(), epochs=4, show=False).directory, whole.directory)
    assert {"loss", "critic", "error"} <= whole.history[0].keys()


def test_the_adversary_does_its_work_and_the_bundle_needs_none_of_it(tmp_path):
    """Where it counts it cannot tell codes from the prior any more (2 ln 2), else it can; it is no part of the graphs."""
    told = {}
    for weight in (0.0, 10.0):
        options = {**STEADY, "epochs": 60, "lr": 0.01, "objective": f"adversarial:weight={weight}"}
        run = aepipe.fit(blobs(200), out=tmp_path / f"weight-{weight:g}", **options)
        told[weight] = run.history[-1]["critic"]
    assert told[0.0] < 1.2 and told[10.0] == pytest.approx(2 * np.log(2), abs=0.05)
    learned = load_tensors(run.directory / "best.safetensors")[0]
    assert any(name.startswith("objective.critic.") for name in learned)
    model = aepipe.load(run.export(tmp_path / "bundle", show=False), provider="cpu")
    codes = model.encode(run.heldout())
    with torch.no_grad():
        expected = run.model().encode(torch.from_numpy(run.heldout().astype(np.float32) / 255))
    np.testing.assert_allclose(codes, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (
            "misnamed",
            "objective 'misnamed' of objectives is no objective: .*names the player 'critics', which is no sub",
        ),
        ("lossless", "objective 'lossless' has a player 'critic', and its losses have no 'critic'"),
    ],
)
def test_a_player_without_a_part_or_a_loss_is_named(tmp_path, objective: str, said: str):
    with pytest.raises(AepipeError, match=said) as caught:
        aepipe.fit(blobs(), out=tmp_path / "run", **{**STEADY, "objective": objective})
    assert "objectives" in caught.value.hint
