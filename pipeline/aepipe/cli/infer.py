"""`aepipe infer`: seven tasks on a bundle, through ONNX Runtime alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from . import Commands
from .options import Count, data_options, runtime_options, shard_option

SHARED = ("provider", "precision", "batch_size", "threads", "split", "limit", "skip_bad", "shard")


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  aepipe infer reconstruct exported/mnist-d8 mnist --limit 64 -o out.png
  aepipe infer --provider cuda encode exported/mnist-d8 photos/ -o codes.npy
  aepipe infer score --help""",
)
@runtime_options
@data_options
@shard_option
@click.pass_context
def infer(ctx: click.Context, **shared: Any) -> None:
    """Use a BUNDLE: reconstruct, denoise, sample, score and more.

    INPUT is a data set (its test split), a folder of images, an image file, .npy, .npz or IDX.

    OUT by its ending: .png is a contact sheet (of one image file: that image), a folder gets one PNG per input, .npy and
    .npz hold arrays, .csv tables. The options below may be given before the task or after it.
    """
    ctx.obj = shared


def task(example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A task of `infer`: the shared options, and a model opened from them."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        out = click.option("-o", "--out", required=True, metavar="OUT", help="Where the result goes, by its ending.")
        wrapped = data_options(runtime_options(shard_option(out(_with_model(function)))))
        wrapped = click.argument("bundle")(wrapped)
        return infer.command(function.__name__, help=function.__doc__, epilog=f"\b\nExample:\n  {example}")(wrapped)

    return decorate


def _with_model(function: Callable[..., Any]) -> Callable[..., Any]:
    @click.pass_context
    def invoke(ctx: click.Context, /, bundle: str, **options: Any) -> None:
        from ..infer import BATCH, load

        shared = {name: options.pop(name) or ctx.obj.get(name) for name in SHARED}
        settings = {"threads": shared["threads"], "batch_size": shared["batch_size"] or BATCH}
        precision = shared["precision"] or "fp32"
        with load(bundle, shared["provider"] or "auto", precision=precision, **settings) as model:
            function(model, Reading(shared), **options)

    for parameter in getattr(function, "__click_params__", []):
        invoke.__click_params__ = [*getattr(invoke, "__click_params__", []), parameter]  # type: ignore[attr-defined]
    return invoke


class Reading:
    """How inputs are read: --split, --limit, --skip-bad, --shard."""

    def __init__(self, shared: dict[str, Any]):
        self.options = {name: shared[name] for name in ("split", "limit", "skip_bad", "shard")}
        self.options["skip_bad"] = bool(self.options["skip_bad"])

    @property
    def limited(self) -> bool:
        return self.options["limit"] is not None

    def of(self, what: str, model: Any) -> Any:
        """An input, not opened yet."""
        from ..streams import Input

        return Input(what, model, **self.options)


@task("aepipe infer reconstruct exported/mnist-d8 photos/ -o restored/")
@click.argument("input")
def reconstruct(model: Any, reading: Reading, input: str, out: str) -> None:
    """Encode INPUT and decode it again: originals above copies."""
    from .. import tasks

    tasks.reconstruct(model, reading.of(input, model), out)


@task("aepipe infer denoise exported/denoiser mnist --limit 16 --corrupt gaussian:sigma=0.5 -o out.png")
@click.argument("input")
@click.option("--corrupt", metavar="SPEC", help="Spoil the input first, and show before and after.")
@click.option("--seed", default=0, show_default=True, type=Count(0), help="Of the corruption.")
def denoise(model: Any, reading: Reading, input: str, out: str, corrupt: str | None, seed: int) -> None:
    """Restore INPUT by a bundle that was trained on spoiled images."""
    from .. import tasks

    tasks.denoise(model, reading.of(input, model), out, corrupt=corrupt, seed=seed)


@task("aepipe infer interpolate exported/mnist-d8 mnist -o strips.png --pairs 6 --steps 12")
@click.argument("input")
@click.argument("input2", required=False)
@click.option("--pairs", default=6, show_default=True, type=Count(1), help="How many strips.")
@click.option("--steps", default=12, show_default=True, type=Count(2), help="Images on a strip, ends included.")
def interpolate(model: Any, reading: Reading, input: str, input2: str | None, out: str, pairs: int, steps: int) -> None:
    """Straight lines in the latent space between images.

    Each image of INPUT is joined to its neighbour, or to an image of INPUT2; one image on one side serves for all.
    """
    from .. import tasks

    second = reading.of(input2, model) if input2 else None
    tasks.interpolate(model, reading.of(input, model), second, out, pairs=pairs, steps=steps)


@task("aepipe infer sample exported/mnist-d8 -o samples.png --count 64 --density pca --seed 1")
@click.option("--count", default=64, show_default=True, type=Count(1), help="How many images.")
@click.option("--density", metavar="NAME", help="Which density of the bundle (default: its first).")
@click.option("--seed", default=0, show_default=True, type=Count(0), help="The same seed gives the same images.")
def sample(model: Any, reading: Reading, out: str, count: int, density: str | None, seed: int) -> None:
    """Draw codes from a density and decode them."""
    from .. import tasks

    tasks.sample(model, out, count=count, density=density, seed=seed, shard=reading.options["shard"])


@task("aepipe infer encode exported/mnist-d8 photos/ -o codes.npy")
@click.argument("input")
def encode(model: Any, reading: Reading, input: str, out: str) -> None:
    """Codes of INPUT, as .npy, .npz or .csv (- is stdout)."""
    from .. import tasks

    tasks.encode(model, reading.of(input, model), out)


@task("aepipe infer decode exported/mnist-d8 codes.npy -o images/")
@click.argument("codes")
def decode(model: Any, reading: Reading, codes: str, out: str) -> None:
    """Images of CODES, an array [N, d] in .npy or .npz."""
    from .. import tasks
    from ..codes import load_codes

    array, shard = load_codes(codes, reading.options["limit"]), reading.options["shard"]
    tasks.decode(model, array, out, limited=reading.limited, shard=shard)


@task("aepipe infer score exported/mnist-d8 photos/ -o scores.csv")
@click.argument("input")
@click.option("--density", metavar="NAME", help="Which density of the bundle (default: its first).")
def score(model: Any, reading: Reading, input: str, out: str, density: str | None) -> None:
    """Reconstruction error and log-density of each image.

    OUT is .csv, or - for stdout: index, path where INPUT has files, mean squared error per pixel, log-density of the code.
    """
    from .. import tasks

    tasks.score(model, reading.of(input, model), out, density=density)


@infer.command(epilog="\b\nExample:\n  aepipe infer join codes.npy")
@click.argument("out")
def join(out: str) -> None:
    """Make OUT of the parts that its shards wrote.

    `--shard 3/8 -o codes.npy` writes codes.3-of-8.npy; from all eight parts this writes what one run would have written.
    OUT is .npy, .npz or .csv; a folder needs no joining.
    """
    from .. import shards
    from ..progress import say

    say(f"{out}: {shards.join(out)} parts joined")
