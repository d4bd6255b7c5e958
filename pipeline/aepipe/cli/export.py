"""`aepipe export`."""

from __future__ import annotations

import click

from .train import workshop


@click.command(epilog="Example: aepipe export runs/mnist-d8 -o exported/mnist-d8")
@click.argument("run")
@click.option("-o", "--out", metavar="BUNDLE", help="Folder of the bundle.  [default: exported/NAME of the run]")
def export(run: str, out: str | None) -> None:
    """Export a finished RUN as a bundle of ONNX graphs.

    Every graph is compared with torch on held-out images first; over tolerance nothing is written and the exit code is 3.
    """
    folder = workshop("run").Run(run).export(out)
    click.echo(f"{folder}: every graph agrees with torch", err=True)
    click.echo(f"next: aepipe infer sample {folder} -o samples.png", err=True)
