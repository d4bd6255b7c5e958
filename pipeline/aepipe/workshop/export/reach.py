"""How far a network sees: the farthest pixel of the input that an output depends on."""

from __future__ import annotations

import torch

from aepipe.workshop.training.model import Autoencoder

SIZES = (64, 128, 256, 512)  # sides of the images that are tried, smaller ones first


@torch.no_grad()
def reach_of(model: Autoencoder, channels: int, multiple: int) -> int | None:
    """The pixels of the input, to each side, that decide about a pixel of the output; None if that is the whole image.

    A pixel that is NaN makes NaN of all that depend on it, whatever the weights are. Where an output lies in its step of
    `multiple` pixels makes a difference, so that each place is tried.
    """
    for size in SIZES:
        side, farthest = -(-size // multiple) * multiple, 0
        for place in range(multiple):
            centre = side // 2 // multiple * multiple + place
            image = torch.zeros(1, channels, side, side)
            image[:, :, centre, centre] = torch.nan
            hit = torch.isnan(model.decode(model.encode(image))).any(1)[0].nonzero()
            farthest = max(farthest, int((hit - centre).abs().max()) if len(hit) else 0)
        if farthest < side // 2 - multiple:
            return farthest
    return None
