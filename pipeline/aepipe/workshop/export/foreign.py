"""Torch modules that were trained without aepipe, exported as the same bundle."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aepipe import plugins
from aepipe.errors import BadInput, foreign
from aepipe.images.batches import batches
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from aepipe.judging.metrics import psnr
from aepipe.workshop.training.finish import BATCH, HELD_OUT
from aepipe.workshop.training.model import Autoencoder, as_tensor, frozen
from aepipe.workshop.training.run import choose_densities, fit_density

from .export import KEPT, Contents, write_bundle
from .formats import Formats
from .places import check_place


@torch.no_grad()
def export_modules(
    encoder: nn.Module,
    decoder: nn.Module,
    images: Any,
    out: str | Path,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    densities: Sequence[str] = ("gaussian",),
    show: bool = True,
    **formats: Any,
) -> Path:
    """Export torch modules that were trained without aepipe, with densities fitted to the codes of `images`.

    `encoder` maps (image − mean) / std, float32 [N, C, H, W], to codes [N, d], `decoder` maps codes back to that
    standardised space. `images` is anything `fit` takes, of data sets the training split; the last 256 are used for the
    parity check. `formats` are options of `export_run`. The modules are left as they were. Returns the bundle's folder.
    Raises BadInput for modules of the wrong shapes, ParityError as `export_run` does.
    """
    out, wanted = Path(out), Formats.of(formats)
    check_place(out, wanted)
    if not (std > 0 and math.isfinite(std) and math.isfinite(mean)):
        hint = "give those that the modules were trained with"
        raise BadInput(f"mean {mean} and standard deviation {std} cannot standardise images", hint)
    chosen = choose_densities([densities] if isinstance(densities, str) else densities)
    source = open_images(images, split="train")
    identity = plugins.create("objective", "mse", 1)
    model = Autoencoder(copy.deepcopy(encoder), identity, copy.deepcopy(decoder), mean, std)
    frozen(model)
    codes = torch.cat([_checked_codes(model, batch.images) for batch in batches(source, BATCH)])
    latent = codes.shape[1]
    fitted = {choice.label: (fit_density(choice, latent, codes, 0), choice.record()) for choice in chosen}
    held_out = as_float(source.read(np.arange(len(source))[-HELD_OUT:]))
    clean = as_tensor(held_out)
    mse = float((model.decode(model.encode(clean)) - clean).square().mean())
    contents = Contents(
        name=out.resolve().name,
        model=model,
        shape=source.shape,
        latent=latent,
        densities=fitted,
        codes=codes.numpy()[:KEPT],
        labels=None if source.labels is None else source.labels[:KEPT],
        held_out=held_out,
        components={"encoder": _record(encoder), "decoder": _record(decoder)},
        trained={"data": source.name, "task": "reconstruct", "images": len(source)},
        metrics={"mse": mse, "psnr": psnr(mse), "split": "given", "count": len(held_out)},
    )
    return write_bundle(contents, out, wanted, show=show)


def _record(module: nn.Module) -> dict[str, Any]:
    return {"name": type(module).__name__, "options": {}, "plugin": None, "version": None}


def _checked_codes(model: Autoencoder, images: np.ndarray) -> Tensor:
    """Codes of images, after a look at what the modules make of them; raises BadInput."""
    way_out = "the encoder takes [N, C, H, W] and gives [N, d], the decoder goes back"
    with foreign(f"the modules do not run on images {list(images.shape)}", way_out, kind=BadInput):
        codes = model.encode(as_tensor(images))
        output = model.decode(codes)
    if codes.ndim != 2 or output.shape != images.shape:
        message = f"images {list(images.shape)} became codes {list(codes.shape)} and images {list(output.shape)}"
        raise BadInput(message, "codes [N, d] and images of the input's shape are needed")
    if not torch.isfinite(codes).all():
        raise BadInput("the encoder makes codes with NaN or infinity", "check its weights, mean and std")
    return codes
