"""Chooses the device and the number format that are fast for training on this machine."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from aepipe.arguments import is_one_of
from aepipe.errors import BadInput

from . import team as teams
from .model import Autoencoder

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the number of dimensions of samples and weights


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA if torch has it, else the CPU. Raises BadInput if a named device is unknown or not there."""
    if not is_one_of(name, ("auto", "cpu", "cuda")):
        raise BadInput(f"device {name!r} is unknown", "known: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("torch finds no CUDA device", "use --device cpu, or install a CUDA build of torch and a driver")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return teams.own_gpu()


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 products run in hardware: AMX or AVX512_BF16 on a CPU, compute capability 8.0 on a GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def fast_layout(model: Autoencoder, images: Tensor, labels: Tensor | None = None) -> torch.memory_format:
    """The layout in which the model trains fastest on samples like these: channels last for images, and on a CPU for volumes.

    torch lays out weights of images and of volumes together in neither way, and a network that uses `view` where it needs
    `reshape` fails in both. All these train in the ordinary layout, and so do rows and signals, for which there is no other.
    """
    layout = LAYOUTS.get(images.ndim)
    weights = (*model.parameters(), *model.buffers())
    mixed = any(each.ndim in LAYOUTS and each.ndim != images.ndim for each in weights)
    if layout is None or mixed or (layout is torch.channels_last_3d and images.is_cuda):
        return torch.contiguous_format
    model.to(memory_format=layout)
    model.eval()  # so this trial does not change the statistics of a batch norm
    try:
        model.losses(images, images, labels)["loss"].backward()
        return layout
    except RuntimeError as error:
        if "view size is not compatible" not in str(error):
            raise
        return torch.contiguous_format
    finally:
        model.zero_grad(set_to_none=True)
        model.to(memory_format=torch.contiguous_format)
