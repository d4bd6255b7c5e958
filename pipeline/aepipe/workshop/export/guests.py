"""Modules that were trained without aepipe, made ready for export without changing them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from aepipe.errors import BadInput, foreign
from aepipe.progress import say
from aepipe.workshop.training.model import frozen
from aepipe.workshop.training.own import checked_module, uncompile

REGISTERED = ("_parameters", "_buffers", "_modules")


@contextmanager
def guests(encoder: Any, decoder: Any, *, show: bool) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield both in evaluation mode, as float32 on the CPU, without gradients and compiled code: copies, where they can be copied.

    Some cannot (a module that keeps an activation, or the older weight_norm). They are used themselves, and everything that
    belongs to them is put back at the end. Raises BadInput for what is no module, and for modules without weights of their own.
    """
    encoder, decoder = (checked_module(each, name) for each, name in ((encoder, "encoder"), (decoder, "decoder")))
    if show:
        _tell_dtypes(encoder, decoder)
    try:
        copied = copy.deepcopy((encoder, decoder))  # together, so that what they share is shared by the copies
    except Exception:
        copied = None
    if copied is not None:
        yield _ready(*copied)
        return
    with _lent(encoder, decoder):
        yield _ready(encoder, decoder)


def _tell_dtypes(encoder: nn.Module, decoder: nn.Module) -> None:
    others = {each.dtype for module in (encoder, decoder) for each in module.parameters() if each.is_floating_point()}
    for dtype in sorted(map(str, others - {torch.float32})):
        say(f"note: the modules hold weights in {dtype.removeprefix('torch.')}; the graphs compute in float32")


def _ready(encoder: nn.Module, decoder: nn.Module) -> tuple[nn.Module, nn.Module]:
    for module in (encoder, decoder):
        uncompile(module)
        with foreign("the modules cannot be moved to the CPU as float32", "move them there yourself", kind=BadInput):
            frozen(module).float()
    return encoder, decoder


@contextmanager
def _lent(*modules: nn.Module) -> Iterator[None]:
    """A block after which these modules are as before: attributes, weights with their devices and types, gradients, modes."""
    everyone = {id(each): each for module in modules for each in module.modules()}
    attributes = [(each, dict(vars(each)), {k: dict(vars(each)[k]) for k in REGISTERED}) for each in everyone.values()]
    parameters = {id(each): each for module in modules for each in module.parameters()}
    weights = [(each, each.data, each.requires_grad, each.grad) for each in parameters.values()]
    buffers = [(each, each.detach().clone()) for module in modules for each in module.buffers()]
    try:
        yield
    finally:
        for owner, values, registered in attributes:
            vars(owner).clear()
            vars(owner).update(values)
            for name, entries in registered.items():
                vars(owner)[name].clear()
                vars(owner)[name].update(entries)
        with torch.no_grad():
            for parameter, data, wanted, gradient in weights:
                parameter.data = data
                parameter.requires_grad_(wanted)
                parameter.grad = gradient
            for buffer, value in buffers:
                buffer.copy_(value)
