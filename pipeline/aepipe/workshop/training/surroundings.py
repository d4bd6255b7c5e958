"""Settings of torch that belong to the whole process: the workshop works with the ordinary ones and puts the others back."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


@contextmanager
def ordinary_settings() -> Iterator[None]:
    """A block, or a function that this decorates, in which gradients are on and new tensors are float32 on the CPU.

    Whatever was set for the process stays outside: no_grad and inference mode, the default dtype and device, autocast, a
    precision of matrix products below the highest. Warnings that are errors there are warnings here. Deterministic
    algorithms stay, but an operation that has none warns instead of failing.
    """
    dtype, product = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if any(action == "error" for action, *_ in warnings.filters):
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("default")
        stack.enter_context(np.errstate(all="warn", under="ignore"))
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        if strict:
            torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_float32_matmul_precision(product)
            if strict:
                torch.use_deterministic_algorithms(True, warn_only=warns)
