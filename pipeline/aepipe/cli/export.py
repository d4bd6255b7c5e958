"""`aepipe export`."""

from __future__ import annotations

from typing import Any

import click

from .train import workshop


@click.command(
    epilog="""\b
Examples:
  aepipe export runs/mnist-d8 -o exported/mnist-d8
  aepipe export runs/mnist-d8 --precision fp32,int8 --calibrate mnist"""
)
@click.argument("run")
@click.option("-o", "--out", metavar="BUNDLE", help="Folder of the bundle.  [default: exported/NAME of the run]")
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
    help="fp32, and int8 or fp16 beside it, with commas.",
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
    help="By how much the MSE may rise in int8 or fp16: 0.01 is one percent. What costs more is left out, exit code 3.",
)
@click.option(
    "--io",
    default="float",
    show_default=True,
    metavar="LIST",
    help="float, and uint8 beside it, with a comma: encoder and decoder for images as bytes, NHWC, and whole tasks in one graph "
    "each (float): reconstruct, interpolate, generate.",
)
def export(run: str, out: str | None, **formats: Any) -> None:
    """Export a finished RUN as a bundle of ONNX graphs.

    Every graph is compared with torch on held-out images first; over tolerance nothing is written and the exit code is 3.
    """
    folder = workshop("run").Run(run).export(out, **formats)
    click.echo(f"{folder}: every graph agrees with torch", err=True)
    click.echo(f"next: aepipe infer sample {folder} -o samples.png", err=True)
