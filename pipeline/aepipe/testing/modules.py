"""What the checks of all kinds of torch modules share. Only the checks import this file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aepipe.errors import BadInput, one_line
from aepipe.workshop.training.model import load_state, load_tensors, save_tensors
from aepipe.workshop.training.players import LOSS, backward

from .report import Finding, Subject, require, trying

NO_STATE = "keep all that is learned in parameters and buffers (register_buffer), fixed in number, so that it is saved"
USE_SEED = "draw from torch's generator only, which aepipe seeds"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A block in which torch's generator is seeded; afterwards the generator is as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def make_module(subject: Subject, *arguments: Any, seed: int = 0) -> Any:
    """The factory's module, built under a seed. Its type is Any, because it has the methods of its kind's hook."""
    with seeded(seed):
        module = subject.make(*arguments)
    require(
        isinstance(module, nn.Module),
        f"the factory returns {type(module).__name__}",
        "return a torch.nn.Module, so that it is saved and exported",
    )
    return module


def require_tensor(what: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    """Return `value`; raises Finding unless it is a finite float32 tensor of that shape."""
    require(isinstance(value, Tensor), f"{what} is {type(value).__name__}", "return one tensor")
    require(
        tuple(value.shape) == shape,
        f"{what} has shape {list(value.shape)}",
        f"the contract is {list(shape)}, one row a sample",
    )
    require(
        value.dtype == torch.float32, f"{what} is {value.dtype}", "return float32, also where fit computes in float64"
    )
    require(
        torch.isfinite(value).all(),
        f"{what} holds NaN or infinity",
        "keep divisions, logarithms and exponentials in range",
    )
    return value


def require_same_state(first: nn.Module, second: nn.Module) -> None:
    """Raise Finding unless two builds under one seed hold the same tensors."""
    ours, theirs = first.state_dict(), second.state_dict()
    for name in ours:
        same = name in theirs and torch.equal(ours[name], theirs[name])
        require(same, f"two builds under one seed differ in {name}", USE_SEED)


def require_equal(first: Tensor, second: Tensor, wrong: str, change: str) -> None:
    """Raise Finding unless the tensors are equal bit for bit."""
    require(torch.equal(first, second), wrong, change)


def require_close(first: Tensor, second: Tensor, tolerance: float, wrong: str, change: str) -> None:
    """Raise a Finding that says by how much they differ, unless |a - b| <= tolerance * max(1, |b|)."""
    worst = float(((first - second).abs() / second.abs().clamp(min=1)).max())
    require(worst <= tolerance, f"{wrong} (by {worst:.2g}, the tolerance is {tolerance:.0e})", change)


@torch.no_grad()
def check_rows(method: str, call: Callable[[Tensor], Tensor], values: Tensor) -> None:
    """Each row of the result depends on its own row of `values` alone, also in a batch of one."""
    whole = call(values.clone())  # each call gets a clone: another check finds changed inputs
    others = torch.cat([values[:1], -2 * values[1:]])
    change = "in evaluation mode no sample may depend on the others: no statistics over the batch, no mixing of rows"
    with trying(f"{method} of one sample", "a batch of one is normal: no squeeze(), no statistics over the batch"):
        alone = torch.cat([call(row[None].clone()) for row in values])
    require(
        alone.shape == whole.shape,
        f"{method} gives another shape for a batch of one",
        "no squeeze() without a dimension",
    )
    require_close(alone, whole, 1e-4, f"{method} gives another result for a sample alone than in a batch", change)
    require_close(
        call(others)[:1], whole[:1], 1e-4, f"{method} of one sample changes with the others in the batch", change
    )


def check_untouched(method: str, call: Callable[[Tensor], Any], values: Tensor) -> None:
    """`call` leaves its argument as it was."""
    before = values.clone()
    call(values)
    require(
        torch.equal(values, before),
        f"{method} changes its input",
        "no in-place operation (+=, relu_, copy_) on what is given",
    )


@torch.no_grad()
def check_state_file(trained: nn.Module, fresh: nn.Module, outputs: Callable[[Any], list[Tensor]]) -> None:
    """Save one module and load it into another; raises Finding unless both compute the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        with trying("saving its state_dict", "hold every tensor in one place of the module only"):
            save_tensors(path, trained.state_dict(), {})
        try:
            load_state(fresh, load_tensors(path)[0], "the module")
        except BadInput as error:
            raise Finding(
                error.message, "build the same parameters and buffers each time; only shapes may change in fit"
            ) from error
    with trying("the loaded module", NO_STATE):
        for before, after in zip(outputs(trained.eval()), outputs(fresh.eval()), strict=True):
            require(
                before.shape == after.shape,
                f"saved and loaded, its output has another shape: {list(after.shape)}",
                NO_STATE,
            )
            require_close(after, before, 1e-6, "saved and loaded, it computes something else", NO_STATE)


Step = Callable[[], dict[str, Any]]


def train_steps(
    losses: Step,
    parameters: list[nn.Parameter],
    modules: dict[str, nn.Module],
    count: int = 3,
    shares: Mapping[str, list[nn.Parameter]] | None = None,
) -> set[str]:
    """Make a few steps of Adam on `losses()["loss"]`; returns the names of the parameters that had a gradient.

    `shares` are the parameters that each loss trains, where there are players. A gradient counts if it was not zero in at
    least one step, because layers may start at zero. Raises Finding if a loss is not finite.
    """
    optimiser = torch.optim.Adam(parameters, lr=1e-3) if parameters else None
    reached: set[str] = set()
    for step in range(count):
        found = losses()
        for loss in (found[name] for name in shares or [LOSS]):
            finite = torch.isfinite(loss).all()
            require(finite, f"the loss is {loss.item()} in step {step + 1}", "keep activations in range")
        for parameter in parameters:
            parameter.grad = None
        if found[LOSS].requires_grad:
            backward(found, shares or {LOSS: parameters})
        for prefix, module in modules.items():
            for name, parameter in module.named_parameters():
                if parameter.grad is not None and parameter.grad.any():
                    reached.add(f"{prefix}.{name}")
        if optimiser is not None:
            optimiser.step()
    return reached


@contextmanager
def training(how: str) -> Iterator[None]:
    """Turn the errors of training into findings that say what to change."""
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if "view size is not compatible" in text or "view" in text.partition(".")[0]:
            raise Finding(f"{how} fails: {text}", "use reshape or flatten instead of view") from error
        if "bfloat16" in text.lower():
            change = "bring both operands to one type, for instance other.to(x.dtype): autocast casts only torch's own layers"
            raise Finding(f"{how} fails: {text}", change) from error
        raise Finding(f"{how} fails with {one_line(error)}", "it must train as aepipe trains") from error
    except ValueError as error:
        text = one_line(error)
        if "more than 1 value per channel" in text:
            change = (
                "the last batch of an epoch may hold one image: use GroupNorm or LayerNorm, or BatchNorm on larger maps"
            )
            raise Finding(f"{how} fails with {text}", change) from error
        raise Finding(f"{how} fails with {text}", "it must train as aepipe trains") from error
