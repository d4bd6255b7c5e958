"""`aepipe train` and `aepipe fit-density`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aepipe.errors import AepipeError, BadInput
from aepipe.space import KINDS
from aepipe.workshop import entry
from aepipe.workshop.training.team import together

from .commands import typed
from .options import ImageSize, check_effect, data_options, read_config, was_given

HARDLY = 0.8  # a model with more than this share of the error of the mean sample has hardly learned anything


@click.command(
    epilog="""\b
Examples:
  aepipe train --data mnist --latent-dim 8 -o runs/mnist-d8
  aepipe train --data photos/ --image-size 64 --encoder conv:channels=64 --epochs 50 --schedule cosine
  aepipe train --data mnist --corrupt gaussian:sigma=0.5 -o runs/denoiser
  aepipe train --data photos/ --optimiser adamw:weight_decay=0.05 --schedule onecycle --clip 1 --ema 0.999
  aepipe train --data photos/ --augment crop:size=64 --augment flip --corrupt gaussian:sigma=0..0.2
  aepipe train --resume runs/mnist-d8
  torchrun --standalone --nproc-per-node 2 -m aepipe train --data mnist"""
)
@click.option(
    "--data", metavar="SPEC|PATH", help="A data set (see 'aepipe list dataset'), a folder of images, .npy, .npz or IDX."
)
@click.option("--encoder", default="conv", show_default=True, metavar="SPEC", help="See 'aepipe list encoder'.")
@click.option("--decoder", default="deconv", show_default=True, metavar="SPEC", help="See 'aepipe list decoder'.")
@click.option(
    "--latent-dim", default="8", show_default=True, metavar="N|CxHxW|image", help="Numbers in a code, or its shape."
)
@click.option("--objective", default="mse", show_default=True, metavar="SPEC", help="See 'aepipe list objective'.")
@click.option("--corrupt", metavar="SPEC", help="Spoil the input and learn to restore it, e.g. gaussian:sigma=0.5.")
@click.option(
    "--augment",
    multiple=True,
    metavar="SPEC",
    help="Vary what trains, e.g. crop:size=64 for patches of images of any size, flip; may be repeated, in this order.",
)
@click.option("--epochs", type=int, help="Passes over the training images.  [default: 25]")
@click.option(
    "--batch-size", default=100, show_default=True, type=int, help="Images a step, of all processes together."
)
@click.option("--optimiser", default="adam", show_default=True, metavar="SPEC", help="See 'aepipe list optimiser'.")
@click.option("--lr", default=1e-3, show_default=True, type=float, help="Learning rate (the peak of a schedule).")
@click.option(
    "--schedule", default="constant", show_default=True, type=click.Choice(["constant", "cosine", "onecycle"])
)
@click.option(
    "--warmup",
    type=float,
    metavar="STEPS|SHARE",
    help="Rise to the learning rate over so many steps, or this share of all.  [default: 0; cosine 0.1, onecycle 0.3]",
)
@click.option("--clip", type=float, metavar="NORM", help="Scale gradients of a larger norm down to this one.")
@click.option(
    "--ema", type=float, metavar="DECAY", help="Validate, keep and export an average of the weights, e.g. 0.999."
)
@click.option(
    "--patience", default=0, show_default=True, type=int, help="Stop after N epochs without progress; 0: never."
)
@click.option("--precision", default="auto", show_default=True, type=click.Choice(["auto", "fp32", "bf16"]))
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to train.  [default: auto]")
@click.option(
    "--density", "densities", multiple=True, metavar="[LABEL=]SPEC", help="May be repeated.  [default: gaussian, pca]"
)
@click.option("--seed", default=0, show_default=True, type=int)
@click.option("--image-size", type=ImageSize(), metavar="N|HxW", help="Crop and resize image files to this size.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="Convert image files to grey (1) or colour (3).")
@click.option(
    "--range",
    metavar="LO..HI|dtype|auto|none",
    help="Raw values that are black and white; none: unbounded.  [default: bytes, or floats in 0..1]",
)
@data_options
@click.option(
    "-o", "--out", metavar="RUN", help="Folder of the run.  [default: runs/NAME, or the next free runs/NAME-2, …]"
)
@click.option("--overwrite", is_flag=True, help="Replace an existing run.")
@click.option("--resume", metavar="RUN", help="Continue a run that was stopped or killed, with its own options.")
@click.option(
    "--config",
    callback=read_config,
    is_eager=True,
    expose_value=False,
    metavar="FILE.toml",
    help="Defaults for all of these.",
)
@click.pass_context
@together
def train(ctx: click.Context, data: str | None, resume: str | None, **options: Any) -> None:
    """Train an autoencoder and fit densities to its codes."""
    if resume:
        _resume(ctx, resume, options)
        return
    check_effect(ctx, "overwrite", options["out"], "a folder that is named", "add -o RUN, or leave it out")
    if not data:
        raise BadInput("nothing to train on", "give --data, for instance: aepipe train --data digits")
    arguments = {name: value for name, value in options.items() if value is not None}
    arguments["densities"] = options["densities"] or None
    if options["channels"]:
        arguments["channels"] = int(options["channels"])
    try:
        run = entry.fit(data, **arguments)
    except KeyboardInterrupt as interrupt:
        _interrupted(interrupt, getattr(interrupt, "run", None))
    else:
        _finished(run)


def _resume(ctx: click.Context, directory: str, options: dict[str, Any]) -> None:
    given = [name for name in options if was_given(ctx, name)]
    fixed = [f"--{name.replace('_', '-')}" for name in given if name not in ("epochs", "device")]
    if fixed or was_given(ctx, "data"):
        text = ", ".join(fixed or ["--data"])
        raise BadInput(f"a resumed run keeps its own options, {text} cannot change", "only --epochs and --device can")
    try:
        run = entry.resume(directory, epochs=options["epochs"], device=options["device"])
    except KeyboardInterrupt as interrupt:
        _interrupted(interrupt, directory)
    else:
        _finished(run)


def _interrupted(interrupt: KeyboardInterrupt, directory: str | Path | None) -> None:
    again = f"continue where it stood: aepipe train --resume {typed(directory)}"
    hint = "nothing was written yet" if directory is None else again
    raise AepipeError("training was interrupted", hint, exit_code=getattr(interrupt, "exit_code", 130)) from None


def _finished(run: Any) -> None:
    metrics = run.config["metrics"]
    bounded = "psnr" in metrics
    quality = f"PSNR {metrics['psnr']:.2f} dB" if bounded else f"SNR {metrics['snr']:.2f} dB"
    noun = KINDS[len(run.shape) - 1]
    summary = f"{metrics['split']} MSE {metrics['mse']:.5g}, {quality} ({metrics['count']} {noun}s)"
    click.echo(f"{run.directory}: {summary}, best epoch {metrics['best_epoch']} of {metrics['epochs']}", err=True)
    if note := _no_better_than_mean(metrics):
        click.echo(note, err=True)
    click.echo(f"next: aepipe export {typed(run.directory)}", err=True)


def _no_better_than_mean(metrics: dict[str, Any]) -> str:
    """What to try where the model has hardly learned anything; "" where it has, or where too few samples say so."""
    mean = metrics.get("mse_of_mean", 0)
    if metrics["count"] < 2 or not metrics["mse"] >= HARDLY * mean > 0:
        return ""
    way_out = "train longer (--epochs 50), on more samples, with a larger --latent-dim, or with another --lr"
    return f"note: this is hardly better than the mean of all samples, whose MSE is {mean:.5g}; {way_out}"


@click.command("fit-density", epilog="Example: aepipe fit-density runs/mnist-d8 pca:components=4")
@click.argument("run")
@click.argument("spec", metavar="[LABEL=]SPEC")
def fit_density(run: str, spec: str) -> None:
    """Fit one more density to the codes of a trained RUN."""
    label = entry.open_run(run).fit_density(spec)
    click.echo(f"density {label!r} is part of {run}", err=True)
    click.echo(f"next: aepipe export {typed(run)}", err=True)
