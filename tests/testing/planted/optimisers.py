"""Faults of optimisers."""

from __future__ import annotations

from tests.testing.planted import fault


def _descent():
    """Plain gradient descent, with a method that a fault replaces."""
    import torch

    class Descent(torch.optim.Optimizer):
        def __init__(self, parameters, lr):
            super().__init__(parameters, {"lr": lr})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for each in group["params"]:
                    if each.grad is not None:
                        self.move(each, group)

        def move(self, each, group):
            each.sub_(each.grad, alpha=group["lr"])

    return Descent


@fault("optimiser", "is_an_optimiser", "return a torch.optim.Optimizer")
def makes_a_schedule(parameters, lr):
    "Returns a schedule in the place of the optimiser."
    import torch

    return torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD(parameters, lr=lr))


@fault("optimiser", "is_an_optimiser", "computes the loss once a step")
def needs_the_loss_again(parameters, lr):
    "L-BFGS."
    import torch

    return torch.optim.LBFGS([each for _, each in parameters], lr=lr)


@fault("optimiser", "scales_rates", "factor on the learning rate")
def scales_by_a_word(parameters, lr):
    "A factor that is text."
    return _descent()([{"params": list(parameters), "lr_scale": "half"}], lr)


@fault("optimiser", "follows_the_rate", "which training sets")
def keeps_its_first_rate(parameters, lr):
    "Steps by the rate that it was made with."

    class Fault(_descent()):
        def move(self, each, group):
            each.sub_(each.grad, alpha=lr)

    return Fault(parameters, lr)


@fault("optimiser", "lowers_the_loss", "step against the gradient")
def climbs(parameters, lr):
    "Steps along the gradient."

    class Fault(_descent()):
        def move(self, each, group):
            each.add_(each.grad, alpha=group["lr"])

    return Fault(parameters, lr)


@fault("optimiser", "leaves_what_has_no_gradient", "skip parameters whose grad is None")
def decays_everything(parameters, lr):
    "Decays the weights of unused layers too."
    import torch

    class Fault(_descent()):
        @torch.no_grad()
        def step(self, closure=None):
            super().step()
            for group in self.param_groups:
                for each in group["params"]:
                    each.mul_(1 - group["lr"] / 10)

    return Fault(parameters, lr)


@fault("optimiser", "resumes_exactly", "keep in state and param_groups")
def remembers_beside_its_state(parameters, lr):
    "Momentum in an attribute."

    class Fault(_descent()):
        def __init__(self, parameters, lr):
            super().__init__(parameters, lr)
            self.past = {}

        def move(self, each, group):
            self.past[each] = self.past.get(each, 0) * 0.5 + each.grad
            each.sub_(self.past[each], alpha=group["lr"])

    return Fault(parameters, lr)


@fault("optimiser", "resumes_exactly", "saving its state fails")
def keeps_what_cannot_be_saved(parameters, lr):
    "A set in its state."

    class Fault(_descent()):
        def move(self, each, group):
            super().move(each, group)
            self.state[each]["kinds"] = {1}

    return Fault(parameters, lr)
