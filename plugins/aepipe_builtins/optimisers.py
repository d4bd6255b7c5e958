"""Optimisers: torch's own. `parameters` are pairs (name, parameter), and `lr` is the peak of the learning rate.

The fused implementations do in one pass what the others do in ten. Every option is named as torch names it.
"""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_optimisers(register):
    register(adam)
    register(adamw)
    register(sgd)


def adam(parameters, lr, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8):
    """Adam (Kingma and Ba, ICLR 2015): steps scaled by running moments of the gradient.

    beta1: decay of the mean of the gradients
    beta2: decay of the mean of their squares
    eps: added to the square root, against division by zero
    """
    import torch

    return torch.optim.Adam(parameters, lr=lr, betas=(beta1, beta2), eps=eps, fused=True)


def adamw(parameters, lr, *, weight_decay: float = 1e-2, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8):
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019), of weights and not of biases.

    weight_decay: share of a weight that a step of learning rate 1 takes away; parameters of one dimension have none
    beta1: decay of the mean of the gradients
    beta2: decay of the mean of their squares
    eps: added to the square root, against division by zero
    """
    import torch

    weights = [(name, each) for name, each in parameters if each.ndim > 1]
    others = [(name, each) for name, each in parameters if each.ndim <= 1]
    groups = [
        {"params": group, "weight_decay": decay} for group, decay in ((weights, weight_decay), (others, 0.0)) if group
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, fused=True)


def sgd(parameters, lr, *, momentum: float = 0.9, nesterov: bool = False, weight_decay: float = 0.0):
    """Stochastic gradient descent with momentum (Sutskever et al., ICML 2013).

    momentum: share of the last step that goes on; 0 for none
    nesterov: look ahead along the momentum
    weight_decay: weight of half the squared norm of all parameters
    """
    import torch

    if nesterov and momentum <= 0:
        raise ValueError("nesterov needs a momentum above 0")
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
