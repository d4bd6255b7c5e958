"""An optimiser: Lion (Chen et al., 2023)."""

from aepipe import hookimpl


@hookimpl
def register_optimisers(register):
    register(lion)


def lion(parameters, lr, *, decay: float = 0.0, momentum: float = 0.99):
    """Steps of one size, whose signs a moving mean of the gradients gives; it wants a small learning rate.

    decay: how much of a weight is taken off in each step, times the learning rate
    momentum: how slowly the moving mean follows the gradients
    """
    import torch

    class Lion(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                        direction = mean.lerp(weight.grad, 0.1).sign_()
                        weight.mul_(1 - group["lr"] * decay).sub_(direction, alpha=group["lr"])
                        mean.lerp_(weight.grad, 1 - momentum)

    return Lion([weight for _, weight in parameters], {"lr": lr})
