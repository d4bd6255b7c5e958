"""Puts an encoder or a decoder beside a plain partner, to train, fit and export them in checks. Only the kit imports this file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from aepipe import plugins
from aepipe._types import Shape
from aepipe.plugins.kinds import SHAPES, SIZE
from aepipe.space import Size
from aepipe.workshop.training.model import Autoencoder, fit_closed_forms

from .factories import first_accepted
from .modules import make_module, seeded, train_steps
from .report import NotApplicable, Subject


class Batches:
    """The argument of `fit`: an iterable and nothing more, which yields the same batches in each iteration."""

    def __init__(self, images: Tensor):
        self._images = images

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._images.split(25))


def example(count: int, *sizes: int, seed: int = 0) -> Tensor:
    """Standard-normal numbers: standardised images, or codes."""
    return torch.randn(count, *sizes, generator=torch.Generator().manual_seed(seed))


def code_of(subject: Subject, shape: Shape, size: int = SIZE) -> Size:
    """The code that a component is tried with: a vector of `size` numbers, or a map of so many channels where it refuses that,
    or makes maps; else a code as large as the sample."""

    def make(code: Size) -> Any:
        return make_module(subject, *((shape, code) if subject.kind == "encoder" else (code, shape)))

    halves = [tuple(side >> times for side in shape[1:]) for times in (3, 2, 1)] if len(shape) > 1 else []
    codes = [Size(size), *(Size(size, *sides) for sides in halves if min(sides)), Size(*shape)]
    chosen = first_accepted(subject, f"code for {shape} and {size}", codes, make)
    if subject.kind == "encoder" and not chosen.spatial:
        with torch.no_grad(), suppress(Exception):  # gives_the_right_shape reports such errors
            made = make(chosen).eval()(example(2, *shape))
            chosen = Size(*made.shape[1:]) if made.ndim == len(shape) + 1 > 2 and made.shape[1] == size else chosen
    return chosen


def sizes(code: Size) -> tuple[int, ...]:
    return tuple(int(side or 0) for side in code.shape)


def inputs(subject: Subject, shape: Shape, count: int, size: int = SIZE) -> Tensor:
    return example(count, *(shape if subject.kind == "encoder" else sizes(code_of(subject, shape, size))))


def output_shape(subject: Subject, shape: Shape, count: int, size: int = SIZE) -> tuple[int, ...]:
    return (count, *(sizes(code_of(subject, shape, size)) if subject.kind == "encoder" else shape))


def build(subject: Subject, shape: Shape, size: int = SIZE, seed: int = 0) -> Any:
    """The module, which was run once, as aepipe does after building it: then lazy layers get their sizes."""
    code = code_of(subject, shape, size)
    arguments = (shape, code) if subject.kind == "encoder" else (code, shape)
    with seeded(seed):
        module = make_module(subject, *arguments, seed=seed)
        with torch.no_grad(), suppress(Exception):  # gives_the_right_shape reports such errors
            module.eval()(inputs(subject, shape, 2, size))
    return module.train()


def usual_shape(subject: Subject) -> Shape:
    """The first common shape that the factory accepts."""
    return first_accepted(subject, "shape", SHAPES, lambda shape: build(subject, shape))


def pair(subject: Subject, shape: Shape, seed: int = 0) -> Autoencoder:
    """The component beside a linear partner, with the objective `mse`; networks with a closed form are fitted."""
    net = build(subject, shape, seed=seed)
    with seeded(seed):
        code = code_of(subject, shape)
        flat = [nn.Flatten()] if code.spatial else []
        if subject.kind == "encoder":
            partner: nn.Module = nn.Sequential(*flat, nn.Linear(int(code), prod(shape)), nn.Unflatten(1, shape))
            encoder, decoder = net, partner
        else:
            unflat = [nn.Unflatten(1, sizes(code))] if code.spatial else []
            partner = nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), int(code)), *unflat)
            encoder, decoder = partner, net
        model = Autoencoder(encoder, plugins.create("objective", "mse", code), decoder, 0.3, 0.4)
        try:
            fit_closed_forms(model, Batches(example(75, *shape)))
        except Exception as error:
            raise NotApplicable("its fit fails: see fits_in_closed_form") from error
    return model


def network(subject: Subject, model: Autoencoder) -> Any:
    return model.encoder if subject.kind == "encoder" else model.decoder


def trainable(subject: Subject, shape: Shape) -> Autoencoder:
    model = pair(subject, shape)
    if not any(parameter.requires_grad for parameter in network(subject, model).parameters()):
        raise NotApplicable("it has nothing that trains by gradient")
    return model


def train(
    model: Autoencoder, images: Tensor, names: dict[str, nn.Module] | None = None, bf16: bool = False
) -> set[str]:
    def losses() -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model.losses(images, images)

    model.train()
    with seeded(0):
        return train_steps(losses, [p for p in model.parameters() if p.requires_grad], names or {})
