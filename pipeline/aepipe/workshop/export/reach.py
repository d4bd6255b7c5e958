"""How far a network sees: the farthest pixel of the input that an output depends on."""

from __future__ import annotations

import torch

from aepipe.workshop.training.model import Autoencoder

SIZES = (64, 128, 256, 512)  # lengths of the strips that are tried, shorter ones first
ACROSS = 4  # steps that a strip is wide


@torch.no_grad()
def reach_of(model: Autoencoder, channels: int, multiple: int) -> int | None:
    """The pixels of the input, to each side, that decide about a pixel of the output; None if that is the whole image.

    A pixel that is NaN makes NaN of all that depend on it, whatever the weights are. Where an output lies in its step of
    `multiple` pixels makes a difference, so that each place is tried.
    """
    found = [_along(model, channels, multiple, axis) for axis in (2, 3)]
    return None if None in found else max(each for each in found if each is not None)


def _along(model: Autoencoder, channels: int, multiple: int, axis: int) -> int | None:
    """The same along one side, by strips: what lies far to the other side has no part in it."""
    for size in SIZES:
        side, farthest = -(-size // multiple) * multiple, 0
        for place in range(multiple):
            centre = side // 2 // multiple * multiple + place
            shape = [1, channels, ACROSS * multiple, ACROSS * multiple]
            shape[axis] = side
            image = torch.zeros(shape)
            image.select(axis, centre).fill_(torch.nan)
            hit = torch.isnan(model.decode(model.encode(image))).any(1)[0].any(3 - axis).nonzero()
            farthest = max(farthest, int((hit - centre).abs().max()) if len(hit) else 0)
        if farthest < side // 2 - multiple:
            return farthest
    return None
