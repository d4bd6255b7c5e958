"""Chooses the device and the number format that are fast for training on this machine."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from aepipe.errors import BadInput

from . import team as teams
from .model import Autoencoder


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA if torch has it, else the CPU. Raises BadInput if a named device is unknown or not there."""
    if name not in ("auto", "cpu", "cuda"):
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


def wants_channels_last(model: Autoencoder, images: Tensor) -> bool:
    """Whether the model runs in the channels-last layout, the faster one for convolutions.

    That is a layout of images: weights of other ranks have none. A network that uses `view` where it needs `reshape` fails in
    it, and so trains in the ordinary layout.
    """
    if images.ndim != 4 or any(each.ndim == 5 for each in model.parameters()):
        return False
    model.to(memory_format=torch.channels_last)
    model.eval()  # so this trial does not change the statistics of a batch norm
    try:
        model.losses(images, images)["loss"].backward()
        return True
    except RuntimeError as error:
        if "view size is not compatible" not in str(error):
            raise
        return False
    finally:
        model.zero_grad(set_to_none=True)
        model.to(memory_format=torch.contiguous_format)
