"""Torch modules that were trained without aepipe, exported as the same bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aepipe import plugins
from aepipe.arguments import reading, real
from aepipe.errors import BadInput, foreign
from aepipe.files.out import as_path
from aepipe.images.batches import batches
from aepipe.images.data import check_asked, open_images
from aepipe.images.labels import class_count, class_counts, class_labels
from aepipe.images.source import Source
from aepipe.judging.metrics import psnr
from aepipe.progress import say
from aepipe.space import Size, is_bounded
from aepipe.workshop.training.finish import BATCH, HELD_OUT
from aepipe.workshop.training.model import Autoencoder, as_tensor, frozen
from aepipe.workshop.training.own import record_of_module
from aepipe.workshop.training.run import choose_densities, fit_density
from aepipe.workshop.training.surroundings import ordinary_settings

from .contents import Contents
from .densities import of_codes
from .export import KEPT, sizes_of, write_bundle
from .formats import Formats
from .guests import guests
from .places import bundle_name, check_place, data_name

KEYWORDS = (
    "mean",
    "std",
    "densities",
    "split",
    "limit",
    "image_size",
    "channels",
    "layout",
    "range",
    "skip_bad",
    "show",
)
BATCH_IS_KEPT = (
    "keep the first dimension whatever its size: squeeze(-1) or flatten(1), where squeeze() drops a batch of one"
)


@ordinary_settings()
@torch.no_grad()
def export_modules(
    encoder: nn.Module,
    decoder: nn.Module,
    images: Any,
    out: str | Path,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    densities: str | Sequence[str] = ("gaussian",),
    split: str | None = None,
    limit: int | None = None,
    image_size: Any = None,
    channels: int | None = None,
    layout: str | None = None,
    range: Any = None,
    skip_bad: bool = False,
    show: bool = True,
    **formats: Any,
) -> Path:
    """Export torch modules that were trained without aepipe, with densities fitted to the codes of `images`.

    `encoder` maps (sample − mean) / std, float32 [N, C, *sides], to codes [N, d] or [N, c, *sides], `decoder` maps codes back
    to that standardised space. `images` is anything `fit` takes, with the same `split`, `limit`, `image_size`, `channels`,
    `layout`, `range` and `skip_bad`; the last 256 are used for the parity check. `formats` are options of `export_run`. The
    modules are left as they were. Returns the bundle's folder. Raises BadInput for modules that cannot be used, ParityError,
    DensityRefused and PrecisionRefused as `export_run` does.
    """
    out, wanted = as_path(out), Formats.of(formats, KEYWORDS)
    check_place(out, wanted)
    mean, std = real("the mean", mean), real("the standard deviation", std)
    if not (std > 0 and math.isfinite(std) and math.isfinite(mean)):
        hint = "give those that the modules were trained with"
        raise BadInput(f"mean {mean} and standard deviation {std} cannot standardise images", hint)
    chosen = choose_densities(densities)
    source = open_images(images, split=split or "train", **reading(limit, image_size, channels, layout, range))
    check_asked(split, layout, source)
    bounded = is_bounded(source.raw)
    with guests(encoder, decoder, show=show) as (own_encoder, own_decoder):
        model = Autoencoder(own_encoder, plugins.create("objective", "mse", 1), own_decoder, mean, std, bounded=bounded)
        frozen(model)
        contents = _contents(model, source, chosen, skip_bad=skip_bad)
        contents.name = bundle_name(out)
        contents.components = {"encoder": record_of_module(encoder), "decoder": record_of_module(decoder)}
        return write_bundle(contents, out, wanted, show=show)


def _contents(model: Autoencoder, source: Source, chosen: Sequence[plugins.Choice], *, skip_bad: bool) -> Contents:
    """What the bundle is made of, except its name and components."""
    _try_batches(model, source)
    bad: list[str] = []
    good, codes = [], []
    for batch in batches(source, BATCH, skip_bad=skip_bad, on_bad=lambda _, error: bad.append(error.message)):
        good.append(batch.indices)
        codes.append(_checked_codes(model, batch.images))
    if bad:
        say(f"skipped {len(bad)} bad images, the first: {bad[0]}")
    indices, found = np.concatenate(good), torch.cat(codes)
    held_out = next(iter(batches(source.pick(indices[-HELD_OUT:]), HELD_OUT))).images
    clean = as_tensor(held_out)
    mse = float((model.decode(model.encode(clean)) - clean).square().mean())
    latent = Size(*found.shape[1:])
    labels = None if source.labels is None else source.labels[indices]
    known = class_labels(labels)
    classes = class_count(class_labels(source.labels))
    return Contents(
        name="",
        model=model,
        **sizes_of(model, source.shape, latent, source.raw),
        densities={
            choice.label: (of_codes(fit_density(choice, latent, found, 0, known, classes), latent), choice.record())
            for choice in chosen
        },
        codes=found.numpy()[:KEPT],
        labels=None if labels is None else labels[:KEPT],
        class_counts=class_counts(known, classes),
        held_out=held_out,
        components={},
        trained={
            "data": data_name(source.name, source.dataset is not None),
            "task": "reconstruct",
            "images": len(indices),
        },
        metrics={
            "mse": mse,
            **({"psnr": psnr(mse)} if model.bounded else {}),
            "split": "given",
            "count": len(held_out),
        },
    )


def _try_batches(model: Autoencoder, source: Source) -> None:
    """Raise BadInput for modules that do not keep the batch, which a batch of one shows: `squeeze` drops that one too."""
    first = next(iter(batches(source, 2, skip_bad=True))).images
    pair = np.concatenate([first, first])[:2]
    several, one = (_checked_codes(model, images) for images in (pair, pair[:1]))
    if one.shape[1:] != several.shape[1:]:
        message = f"the encoder gives codes {list(one.shape)} for one image and {list(several.shape)} for two"
        raise BadInput(message, BATCH_IS_KEPT)


def _checked_codes(model: Autoencoder, images: np.ndarray) -> Tensor:
    """Codes of images, after a look at what the modules make of them; raises BadInput."""
    given = model.standardise(as_tensor(images))
    codes = _called("encoder", model.encoder, given)
    if codes.ndim < 2 or len(codes) != len(images):
        message = f"the encoder made codes {list(codes.shape)} of images {list(images.shape)}"
        raise BadInput(message, f"codes [N, d] are needed; {BATCH_IS_KEPT}")
    if not torch.isfinite(codes).all():
        raise BadInput("the encoder makes codes with NaN or infinity", "check its weights, mean and std")
    output = _called("decoder", model.decoder, codes)
    if output.shape != images.shape:
        message = f"images {list(images.shape)} became codes {list(codes.shape)} and images {list(output.shape)}"
        raise BadInput(message, f"images of the input's shape are needed; {BATCH_IS_KEPT}")
    return codes


def _called(name: str, module: nn.Module, given: Tensor) -> Tensor:
    way_out = "the encoder takes float32 [N, C, H, W] and gives [N, d], the decoder goes back"
    with foreign(f"the {name} does not run on {list(given.shape)}", way_out, kind=BadInput):
        made = module(given)
    if not isinstance(made, Tensor):
        hint = "wrap it in a module that returns the codes, or the images, alone"
        raise BadInput(f"the {name} gives a {type(made).__name__}, where one tensor is needed", hint)
    if made.dtype != torch.float32:
        hint = "let it return float32"
        raise BadInput(f"the {name} gives {str(made.dtype).removeprefix('torch.')}, where float32 is needed", hint)
    return made
