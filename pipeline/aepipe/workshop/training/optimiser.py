"""The optimiser of a training: a plugin makes it, and whatever it keeps is saved and comes back exactly.

torch's own `load_state_dict` is not enough for that: it turns tensors of any type into that of their parameter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aepipe import plugins
from aepipe.errors import AepipeError, BadInput

Named = Sequence[tuple[str, nn.Parameter]]

DEFAULT = "adam"
PREFIX = "optimiser"  # of the names of its tensors in a checkpoint
LISTS: dict[str, Callable[..., Any]] = {"list": list, "tuple": tuple}


def make_optimiser(record: str | Mapping[str, Any], parameters: Named, lr: float) -> torch.optim.Optimizer:
    """The optimiser of a record or spec for these parameters; those that it leaves out are frozen.

    Raises BadInput for one that computes the loss more than once a step, AepipeError for what is no optimiser of these.
    """
    choice = plugins.choose("optimiser", record)
    component = choice.component
    optimiser = choice.make(list(parameters), lr)
    if not isinstance(optimiser, torch.optim.Optimizer):
        message = f"{component} made a {type(optimiser).__name__}, where an optimiser of torch is needed"
        raise AepipeError(message, component.report)
    if needs_closure(optimiser):
        message = f"{component} computes the loss several times a step, and training computes it once"
        raise BadInput(message, "choose an optimiser whose step() needs no closure, see 'aepipe list optimiser'")
    trained = {id(each) for each in parameters_of(optimiser)}
    if trained - {id(each) for _, each in parameters}:
        raise AepipeError(f"{component} trains parameters that it was not given", component.report)
    for _, each in parameters:
        each.requires_grad_(id(each) in trained)
    return optimiser


def needs_closure(optimiser: torch.optim.Optimizer) -> bool:
    """Whether `step` must be given a function that computes the loss, as that of L-BFGS."""
    closure = inspect.signature(optimiser.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def parameters_of(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All parameters that it trains, in the order of its groups."""
    return [each for group in optimiser.param_groups for each in group["params"]]


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group this learning rate, times its `lr_scale` where it has one."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def state_of(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], Any]:
    """Everything that it keeps: its tensors by name, and a JSON value that says where in it they stand, with all the rest.

    Raises TypeError for what can be neither.
    """
    held = optimiser.state_dict()
    groups = [
        {name: v for name, v in each.items() if name not in ("params", "param_names")} for each in held["param_groups"]
    ]
    tensors: dict[str, Tensor] = {}
    state = _packed(held["state"], PREFIX, tensors)
    rest = {name: value for name, value in held.items() if name not in ("state", "param_groups")}
    return tensors, [state, *(_packed(each, f"{PREFIX}.more", tensors) for each in (groups, rest))]


def restore_state(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], notes: Any) -> None:
    """Give it back what `state_of` took. `notes` are None of a run that an earlier aepipe began, with a state of tensors alone."""
    fresh = optimiser.state_dict()["param_groups"]
    if notes is None:
        state, groups, rest = _of_names(tensors), [dict[str, Any]() for _ in fresh], {}
    else:
        state, groups, rest = (_unpacked(each, tensors) for each in notes)
    of_index = dict(enumerate(parameters_of(optimiser)))
    state = {key: _laid_out(value, of_index[key]) if key in of_index else value for key, value in state.items()}
    groups = [{**old, **saved} for old, saved in zip(fresh, groups, strict=True)]
    optimiser.load_state_dict({**rest, "state": state, "param_groups": groups})
    for key, value in state.items():
        owner = of_index.get(key, key)
        optimiser.state[owner] = _with_types(optimiser.state[owner], value)


def _packed(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON: a tensor goes to `tensors` and leaves its name, containers become {"dict" | "list" | "tuple": …}."""
    if isinstance(value, Tensor):
        while path in tensors:
            path += "'"
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, dict):
        return {"dict": [[key, _packed(each, f"{path}.{key}", tensors)] for key, each in value.items()]}
    if type(value) in LISTS.values():
        return {type(value).__name__: [_packed(each, f"{path}.{i}", tensors) for i, each in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} ({path.removeprefix(PREFIX + '.')})")


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpacked(each, tensors) for key, each in content}
    return LISTS[kind](_unpacked(each, tensors) for each in content)


def _of_names(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        _, index, key = name.split(".", 2)
        state.setdefault(int(index), {})[key] = value
    return state


def _laid_out(value: Any, like: Tensor) -> Any:
    """The state of a parameter in its memory layout: fused optimisers pair them element by element."""
    if isinstance(value, Tensor):
        same = value.shape == like.shape
        return torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(value) if same else value
    if isinstance(value, dict):
        return {key: _laid_out(each, like) for key, each in value.items()}
    return type(value)(_laid_out(each, like) for each in value) if type(value) in LISTS.values() else value


def _with_types(loaded: Any, saved: Any) -> Any:
    """What torch loaded, where tensors of another type than was saved have their own again."""
    if isinstance(saved, Tensor) and isinstance(loaded, Tensor):
        return loaded if loaded.dtype == saved.dtype else saved.to(loaded.device)
    if isinstance(saved, dict) and isinstance(loaded, dict):
        return {key: _with_types(each, saved.get(key)) for key, each in loaded.items()}
    if type(saved) in LISTS.values() and type(loaded) is type(saved):
        return type(saved)(_with_types(*pair) for pair in zip(loaded, saved, strict=True))
    return loaded
