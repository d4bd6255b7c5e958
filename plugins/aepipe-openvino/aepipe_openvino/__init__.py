"""OpenVINO as a provider for aepipe: `--provider openvino`."""

from __future__ import annotations

from typing import Literal

from aepipe import hookimpl


@hookimpl
def register_providers(register):
    register(openvino)


def openvino(*, device: str = "CPU", precision: Literal["fp32", "bf16", "fp16"] = "fp32"):
    """OpenVINO's own runtime, in float32 unless told otherwise.

    device: CPU, GPU, GPU.1 or NPU; if OpenVINO does not find it, that is an error
    precision: number format of the computation; bf16 and fp16 are faster and less exact
    """
    from .runtime import OpenVINO  # OpenVINO is imported when a graph is opened, not when aepipe starts

    return OpenVINO(device, precision)
