"""Other forms of a bundle, for servers and runtimes."""

from __future__ import annotations

from typing import Literal

from aepipe import hookimpl


@hookimpl
def register_layouts(register):
    register(triton)
    register(ort)


def triton():
    "A model repository for Triton Inference Server: encoder, decoder, generators and the ensemble reconstruct."

    def fill(bundle, out):
        from aepipe.workshop.triton import fill_triton

        return fill_triton(bundle, out)

    vars(fill).update(what="Triton repository", plain=True, next="tritonserver --model-repository={out}")
    return fill


def ort(*, platform: Literal["arm", "amd64"] = "arm"):
    """All graphs in the format .ort, which ONNX Runtime reads on phones and where it is built small.

    platform: arm, whose graphs run on other processors too, or amd64, whose graphs are laid out for these
    """

    def fill(bundle, out):
        from aepipe.workshop.ort import fill_ort

        return fill_ort(bundle, out, platform)

    vars(fill).update(what="folder of .ort graphs")
    return fill
