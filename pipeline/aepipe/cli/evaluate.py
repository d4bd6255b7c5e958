"""`aepipe eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import BadInput
from .look import print_table
from .options import Count, data_options, json_option, print_json, runtime_options
from .train import workshop


@click.command("eval", epilog="Example: aepipe eval exported/mnist-d8 --data mnist --json")
@click.argument("model", metavar="RUN|BUNDLE")
@click.option("--data", required=True, metavar="SPEC|PATH", help="Images to reconstruct, by default the test split.")
@click.option("--corrupt", metavar="SPEC", help="Spoil the images first and measure how well they are restored.")
@click.option("--seed", default=0, show_default=True, type=Count(0), help="Of the corruption.")
@runtime_options
@data_options
@json_option
def evaluate(model: str, data: str, corrupt: str | None, seed: int, as_json: bool, **options: Any) -> None:
    """Reconstruction error of a RUN or a BUNDLE: MSE, PSNR, SSIM.

    A RUN is computed by torch in fp32, a BUNDLE by ONNX Runtime.
    """
    from .. import plugins
    from ..data import open_images
    from ..infer import BATCH
    from ..metrics import evaluate as measure
    from ..progress import progress, say

    reconstruct, shape = _reconstruction(model, options)
    spoil = plugins.create("corruption", corrupt) if corrupt else None
    source = open_images(data, split=options["split"] or "test", shape=shape, limit=options["limit"])
    with progress("evaluating", len(source)) as advance:
        reading = {"skip_bad": options["skip_bad"], "batch_size": options["batch_size"] or BATCH, "on_batch": advance}
        figures = measure(reconstruct, source, corrupt=spoil, seed=seed, **reading)
    if figures["count"] < len(source):
        say(f"skipped {len(source) - figures['count']} bad images")
    if as_json:
        print_json({"model": model, "data": data, **figures})
    else:
        print_table([f"{model} on {data}", ""], [[name, f"{value:.6g}"] for name, value in figures.items()])


def _reconstruction(model: str, options: dict[str, Any]) -> tuple[Any, tuple[int, int, int]]:
    """How a run or a bundle reconstructs a batch, and the shape of its images."""
    if (Path(model) / "run.json").exists():
        if given := [f"--{name}" for name in ("provider", "precision", "threads") if options[name]]:
            raise BadInput(f"a run is computed by torch, {given[0]} belongs to a bundle", f"aepipe export {model}")
        run = workshop("run").Run(model)
        return workshop("finish").reconstruction(run.model()), run.shape
    from ..infer import load

    settings = {"precision": options["precision"] or "fp32", "threads": options["threads"]}
    opened = load(model, options["provider"] or "auto", **settings)
    opened.session("encoder"), opened.session("decoder")
    return opened.reconstruct_batch, opened.shape
