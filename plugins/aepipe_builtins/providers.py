"""Providers, on which ONNX graphs run."""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_providers(register):
    register(cpu)
    register(cuda)
    register(auto)


def cpu():
    """ONNX Runtime on the CPU."""
    from aepipe.runtime import OnnxRuntime

    return OnnxRuntime("CPUExecutionProvider", {})


def cuda(*, device_id: int = 0, tf32: bool = False, graph: bool = False):
    """ONNX Runtime on an NVIDIA GPU, or an error: never a silent fall-back.

    device_id: which GPU
    tf32: allow TensorFloat-32, which is faster but has only 10 bits of mantissa
    graph: record the kernels of a call once and replay them (CUDA graphs), which helps small batches
    """
    from aepipe.runtime import OnnxRuntime

    options = {"device_id": str(device_id), "use_tf32": str(int(tf32)), "enable_cuda_graph": str(int(graph))}
    options["cudnn_conv_algo_search"] = "HEURISTIC"  # the default tries every algorithm for every new shape
    return OnnxRuntime("CUDAExecutionProvider", {**options, "arena_extend_strategy": "kSameAsRequested"})


def auto():
    """CUDA if a session really starts there, else the CPU."""
    from aepipe.runtime import FirstAvailable

    return FirstAvailable([cuda(), cpu()])
