"""Checks of optimisers. Only the kit imports this file, so it may import torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aepipe.workshop.training.model import load_tensors, save_tensors
from aepipe.workshop.training.optimiser import needs_closure, parameters_of, restore_state, set_rate, state_of

from .modules import require_equal, seeded
from .pairs import example
from .report import NotApplicable, Subject, require, trying

RATE = 1e-3
STEPS = 5


class Problem:
    """A small regression, and the optimiser that is to solve it."""

    def __init__(self, subject: Subject):
        with seeded(0):
            parts = {"encoder": nn.Linear(3, 4), "decoder": nn.Linear(4, 2), "idle": nn.Linear(2, 2)}
        self.net = nn.ModuleDict(parts)
        self.images, self.target = example(16, 3), example(16, 2, seed=1)
        optimiser = subject.make(list(self.net.named_parameters()), RATE)
        if not isinstance(optimiser, torch.optim.Optimizer) or needs_closure(optimiser):
            raise NotApplicable("see is_an_optimiser")
        if wrong_scales(optimiser):
            raise NotApplicable("see scales_rates")
        self.optimiser = optimiser

    def loss(self) -> Tensor:
        """The mean squared error."""
        return (self.net["decoder"](torch.tanh(self.net["encoder"](self.images))) - self.target).square().mean()

    def steps(self, count: int, rate: float = RATE) -> None:
        """Steps as training makes them: the rate is set before each, and parameters without a gradient have None."""
        for _ in range(count):
            set_rate(self.optimiser, rate)
            self.optimiser.zero_grad(set_to_none=True)
            self.loss().backward()
            self.optimiser.step()

    def weights(self, part: str = "") -> Tensor:
        module = self.net[part] if part else self.net
        return torch.cat([each.detach().flatten().clone() for each in module.parameters()])


def is_an_optimiser(subject: Subject) -> None:
    """The factory returns an optimiser of torch, whose step needs no closure, of parameters that it was given."""
    pairs = list(nn.Linear(3, 2).named_parameters())
    optimiser = subject.make(pairs, RATE)
    known = isinstance(optimiser, torch.optim.Optimizer)
    require(known, f"the factory returns {type(optimiser).__name__}", "return a torch.optim.Optimizer")
    change = "training computes the loss once a step and calls step(): choose a method that needs no more"
    require(not needs_closure(optimiser), "its step needs a closure", change)
    given, trained = {id(each) for _, each in pairs}, [id(each) for each in parameters_of(optimiser)]
    require(set(trained) <= given, "it trains parameters that it was not given", "take the parameters of the argument")
    require(trained, "it trains no parameter", "give it the parameters of the argument, in one group or in several")


def scales_rates(subject: Subject) -> None:
    """`lr_scale` of a group, where it has one, is a number of at least 0."""
    optimiser = subject.make(list(nn.Linear(3, 2).named_parameters()), RATE)
    wrong = wrong_scales(optimiser) if isinstance(optimiser, torch.optim.Optimizer) else []
    require(not wrong, f"a group has lr_scale = {wrong}", "lr_scale is the factor on the learning rate of its group")


def wrong_scales(optimiser: torch.optim.Optimizer) -> list[Any]:
    scales = [group.get("lr_scale", 1.0) for group in optimiser.param_groups]
    return [each for each in scales if type(each) not in (int, float) or not 0 <= each < float("inf")]


def follows_the_rate(subject: Subject) -> None:
    """A step of the rate 0 changes nothing, and a step of another rate does: the rate is what training sets in each group."""
    problem = Problem(subject)
    before = problem.weights()
    problem.steps(1, rate=0.0)
    change = "take the rate of each step from group['lr'], which training sets; decay weights in proportion to it"
    require(torch.equal(problem.weights(), before), "a step with the learning rate 0 changes parameters", change)
    problem.steps(1)
    require(not torch.equal(problem.weights(), before), "a step changes nothing", change)


def lowers_the_loss(subject: Subject) -> None:
    """After steps on a regression the loss is lower."""
    problem = Problem(subject)
    before = float(problem.loss().detach())
    problem.steps(200)
    after = float(problem.loss().detach())
    require(
        after < before,
        f"200 steps with the learning rate {RATE} take the loss of a regression from {before:.4g} to {after:.4g}",
        "step against the gradient, and mean by lr what Adam or SGD means",
    )


def leaves_what_has_no_gradient(subject: Subject) -> None:
    """A parameter whose gradient is None stays as it is: a layer may be unused in a step, or be a player's."""
    problem = Problem(subject)
    before = problem.weights("idle")
    change = "skip parameters whose grad is None"
    with trying("a step where a parameter has no gradient", change):
        problem.steps(STEPS)
    require(torch.equal(problem.weights("idle"), before), "it changes a parameter that has no gradient", change)


def resumes_exactly(subject: Subject) -> None:
    """Saved and restored between two steps, it goes on as if nothing had happened, bit for bit."""
    whole, first, second = Problem(subject), Problem(subject), Problem(subject)
    whole.steps(2 * STEPS)
    first.steps(STEPS)
    change = (
        "keep in state and param_groups all that later steps depend on: tensors, numbers, and lists and dicts of them"
    )
    with trying("saving its state", change):
        tensors, notes = state_of(first.optimiser)
    with tempfile.TemporaryDirectory() as folder, trying("restoring its state", change):
        path = Path(folder) / "state.safetensors"
        save_tensors(path, tensors, {"optimiser": notes})
        tensors, held = load_tensors(path)
        second.net.load_state_dict(first.net.state_dict())
        restore_state(second.optimiser, tensors, held["optimiser"])
    second.steps(STEPS)
    require_equal(second.weights(), whole.weights(), "saved and restored, it steps to other weights", change)


CHECKS: list[Callable[[Subject], None]] = [
    is_an_optimiser,
    scales_rates,
    follows_the_rate,
    lowers_the_loss,
    leaves_what_has_no_gradient,
    resumes_exactly,
]
