"""Faults of layouts."""

from __future__ import annotations

import shutil

from tests.testing.planted import fault


@fault("layout", "fills_the_folder", "second argument")
def writes_nothing():
    "Looks at the bundle."
    return lambda bundle, out: sorted(bundle.iterdir())[0].name


@fault("layout", "fills_the_folder", "as text")
def says_a_number():
    "Returns how many bytes it wrote."
    return lambda bundle, out: (out / "copy.onnx").write_bytes((bundle / "encoder.onnx").read_bytes())


@fault("layout", "fills_the_folder", "into OUT alone")
def writes_beside():
    "Leaves a list where the folder lies."

    def fill(bundle, out):
        shutil.copy(bundle / "encoder.onnx", out)
        (out.parent / "list.txt").write_text("encoder.onnx")

    return fill


@fault("layout", "leaves_the_bundle", "into OUT first")
def works_in_place():
    "Renames in the bundle what it copies."

    def fill(bundle, out):
        shutil.copy(bundle / "encoder.onnx", out)
        (bundle / "copied.txt").write_text(str(out))

    return fill
