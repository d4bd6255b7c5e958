"""`aepipe export`."""

from __future__ import annotations

from typing import Any

import click

from aepipe.workshop import entry

from .commands import typed
from .options import check_effect


@click.command(
    epilog="""\b
Examples:
  aepipe export runs/mnist-d8 -o exported/mnist-d8
  aepipe export runs/mnist-d8 --precision fp32,int8 --calibrate mnist
  aepipe export runs/mnist-d8 --io uint8
  aepipe export runs/mnist-d8 --density pca --density gaussian
  aepipe export runs/mnist-d8 --layout triton -o models
  aepipe export exported/mnist-d8 --layout ort"""
)
@click.argument("run")
@click.option(
    "-o",
    "--out",
    metavar="FOLDER",
    help="Where to write.  [default: exported/NAME of the run, with a layout exported/NAME-LAYOUT]",
)
@click.option(
    "--layout",
    default="bundle",
    show_default=True,
    metavar="bundle|SPEC",
    help="Another form of a RUN, or of a BUNDLE that is there already: triton, ort, …, see 'aepipe list layout'.",
)
@click.option(
    "--lower",
    default="auto",
    show_default=True,
    metavar="auto|none",
    help="Rewrite encoder and decoder so that they run faster and compute the same, or leave them as torch exports them.",
)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    metavar="LIST",
    help="Precisions with commas between them: int8 and fp16 are made beside fp32, which is always made.",
)
@click.option(
    "--calibrate",
    metavar="SPEC|PATH",
    help="Images that set the ranges of int8 (training split) and judge each precision (test split).  "
    "[default: images that the run held out]",
)
@click.option(
    "--max-drop",
    default=0.01,
    show_default=True,
    type=float,
    metavar="SHARE",
    help="How much the MSE may rise in int8 or fp16: 0.01 is 1 %. A precision that costs more is left out (exit code 3).",
)
@click.option(
    "--io",
    default="float",
    show_default=True,
    metavar="LIST",
    help="float, which is always made; uint8 adds an encoder and a decoder for images as bytes (NHWC), and graphs that each do a "
    "whole task in float: reconstruct, interpolate, generate.",
)
@click.option(
    "--density",
    "densities",
    multiple=True,
    metavar="NAME",
    help="Only this density of the run; may be repeated, the first is the default one.  [default: all]",
)
@click.option("--without", multiple=True, metavar="NAME", help="All densities but this one; may be repeated.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace also a bundle that holds further precisions, or io, than the new one.",
)
@click.option(
    "--private",
    is_flag=True,
    help="Leave out codes, labels and preview, and name neither the data nor the run: exported/autoencoder-dN by default.",
)
@click.pass_context
def export(
    ctx: click.Context, run: str, out: str | None, layout: str, densities: tuple[str, ...], **formats: Any
) -> None:
    """Export a finished RUN as a bundle of ONNX graphs.

    Every graph is first compared with torch on held-out images. If encoder or decoder differs too much, nothing is written;
    a density that does is left out (exit code 3).
    """
    formats["densities"] = densities or None
    further = formats["precision"] != "fp32"
    check_effect(ctx, "max_drop", further, "a precision beside fp32", "add --precision fp32,int8, or leave it out")
    if layout != "bundle":
        folder, said, following = entry.export_layout(layout, run, out, **formats)
        click.echo(f"{folder}: {said}", err=True)
        if following:
            click.echo(f"next: {following.format(out=typed(folder.resolve()))}", err=True)
        return
    from aepipe.bundle.reader import Bundle

    folder = entry.open_run(run).export(out, **formats)
    click.echo(f"{folder}: every graph agrees with torch", err=True)
    task = "sample" if Bundle(folder).densities else "reconstruct"
    given, made = ("", "samples") if task == "sample" else (" IMAGES", "restored")
    click.echo(f"next: aepipe infer {task} {typed(folder)}{given} -o {made}.png", err=True)
