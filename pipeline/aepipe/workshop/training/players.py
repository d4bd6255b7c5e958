"""Players: parts of an objective that are trained on a loss of their own, such as the critic of an adversarial autoencoder.

An objective with `players = ("critic",)` has a sub-module `critic`, and its `losses` give "critic" beside "loss". The
parameters of a player get the gradient of their own loss alone, and all others that of "loss" alone. Both come from one
forward pass, and one optimiser makes the step (simultaneous gradient descent; Goodfellow et al., NeurIPS 2014).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

LOSS = "loss"


def players_of(objective: Any) -> dict[str, nn.Module]:
    """The players of an objective by name; raises ValueError for a name that is no sub-module of it."""
    names = getattr(objective, "players", ())
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"players is {names!r}, and not a tuple of names")
    parts = dict(objective.named_children())
    for name in names:
        if name == LOSS or name not in parts:
            raise ValueError(f"it names the player {name!r}, which is no sub-module of it")
    return {name: parts[name] for name in names}


def shares_of(objective: Any, parameters: Iterable[nn.Parameter]) -> dict[str, list[nn.Parameter]]:
    """These parameters by the loss that trains them: "loss", or the name of a player."""
    owner = {id(each): name for name, part in players_of(objective).items() for each in part.parameters()}
    shares: dict[str, list[nn.Parameter]] = {LOSS: []}
    for each in parameters:
        shares.setdefault(owner.get(id(each), LOSS), []).append(each)
    return shares


def without_loss(shares: Mapping[str, list[nn.Parameter]], losses: Mapping[str, Tensor]) -> list[str]:
    """The players for which there is no loss."""
    return [name for name in shares if name not in losses]


def backward(losses: Mapping[str, Tensor], shares: Mapping[str, list[nn.Parameter]]) -> None:
    """Add to every parameter the gradient of the loss that trains it."""
    if len(shares) == 1:
        losses[LOSS].backward()
        return
    todo = [name for name, share in shares.items() if share and losses[name].requires_grad]
    for name in todo:  # they may share parts of the graph, which the last one may free
        losses[name].backward(inputs=shares[name], retain_graph=name != todo[-1])
