"""`aepipe eval`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aepipe.errors import BadInput
from aepipe.space import is_bounded
from aepipe.tables import print_table
from aepipe.workshop import entry

from .options import Count, check_effect, clip_option, data_options, json_option, print_json, runtime_options

if TYPE_CHECKING:
    from aepipe.images.source import Source
    from aepipe.runtime.model import Model

COUNT = 10_000
ROWS = ("samples", "midpoints", "midpoints_slerp", "midpoints_density", "reconstructions", "train")
COLUMNS = ("frechet", "kernel", "precision", "recall", "density", "coverage", "two_sample", "log_likelihood")
PATH_COLUMNS = ("pairs", "class_kept", "length", "largest_step")


@click.command(
    "eval",
    epilog="""\b
Examples:
  aepipe eval exported/mnist-d8 --data mnist --json
  aepipe eval exported/mnist-d8 --data mnist --density gaussian
  aepipe eval exported/threes --data mnist --normal 3   (trained on mnist:only=3)""",
)
@click.argument("model", metavar="RUN|BUNDLE")
@click.option("--data", required=True, metavar="SPEC|PATH", help="Images to reconstruct, by default the test split.")
@click.option("--corrupt", metavar="SPEC", help="Spoil the images first and measure how well they are restored.")
@click.option("--density", metavar="NAME", help="Judge samples of this density of a BUNDLE, too.")
@click.option("--count", type=Count(10), help=f"Samples to judge, and images beside them (default: {COUNT:,}).")
@click.option("--judge", metavar="FILE.onnx", help="The judge: a graph from images to features (default: MNIST's).")
@click.option(
    "--normal",
    type=Count(0),
    metavar="LABEL",
    help="The class that a BUNDLE was trained on: AUROC of detecting others.",
)
@click.option("--seed", default=0, show_default=True, type=Count(0), help="Seed of the corruption and of the samples.")
@runtime_options
@data_options
@clip_option
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context, model: str, data: str, corrupt: str | None, seed: int, as_json: bool, **options: Any
) -> None:
    """Reconstruction error of a RUN or a BUNDLE: MSE, PSNR, SSIM. With --density, how good its samples are.

    "psnr" is that of the mean error, "psnr_mean" the mean of the PSNR of each image. A RUN is computed by torch in fp32, a BUNDLE
    by ONNX Runtime. Of a BUNDLE whose codes are maps, bits per pixel say how many a code takes for each pixel of its image, by
    the type of its numbers.

    Samples are compared with test images in the features of a judge: Fréchet and kernel distance (0 is best), precision
    and recall (1 is best), density and coverage (about 1 is best, and they trust single images less), two-sample accuracy
    (0.5 is best), and the log-likelihood of the test images' codes. The rows "train" (real images) and "reconstructions"
    show what could be reached. Compare figures only if judge and count are equal.

    Mid-points only have to look like images, so the paths of "infer interpolate" are also followed between images of one
    class, in 8 steps: how often the middle keeps the class (1 is best), how long the path is in the judge's features by the
    direct way (1 is best), and its largest step by that way (1/8 is even, 1 is a leap).
    """
    from aepipe.images.corruption import corruption
    from aepipe.images.data import check_asked, open_images
    from aepipe.images.ranges import clipped
    from aepipe.judging.metrics import evaluate as measure
    from aepipe.judging.rate import Rate
    from aepipe.progress import progress, say
    from aepipe.runtime.model import BATCH

    if extra := [f"--{name}" for name in ("judge", "count") if options[name] and not options["density"]]:
        raise BadInput(f"{extra[0]} belongs to judged samples", "name a density: --density NAME")
    reconstruct, subject, opened = _reconstruction(model, options)
    raw = clipped(subject.raw, options["clip"])
    unbounded = not is_bounded(raw)
    spoil = corruption(corrupt, bounded=not unbounded) if corrupt else None
    judged = options["density"] and (options["normal"] is None or options["judge"] or options["count"])
    drawn = "a corruption and to judged samples"
    check_effect(ctx, "seed", spoil or judged, drawn, "add --corrupt SPEC or --density NAME, or leave it out")
    asked = {"limit": options["limit"], "layout": options["layout"], "raw": raw}
    source = open_images(data, split=options["split"] or "test", shape=subject.shape, **asked)
    check_asked(options["split"], options["layout"], source)
    own_sizes = opened is not None and not opened.space.fixed and source.own_sizes
    say(source.describe(whole=own_sizes))
    if note := opened and source.read_otherwise(opened.bundle.trained):
        say(note)
    judging = _judging(opened, source, data, options) if opened and judged else None
    detecting = _detecting(opened, source, data, options) if opened and options["normal"] is not None else {}
    rate = Rate(opened.latent, opened.multiple, opened.code_multiple) if opened and opened.latent.spatial else None
    if rate:
        reconstruct = rate.counting(reconstruct)
    with progress("evaluating", len(source)) as advance:
        reading = {"skip_bad": options["skip_bad"], "batch_size": options["batch_size"] or BATCH, "on_batch": advance}
        reading |= {"unbounded": unbounded, "own_sizes": own_sizes}
        measured = measure(reconstruct, source, corrupt=spoil, seed=seed, **reading)
    if measured["count"] < len(source):
        say(f"skipped {len(source) - measured['count']} bad images")
    bits = rate.bits_per_pixel if rate else {}
    found = judging(seed) if judging else {}
    if as_json:
        told = {"bits_per_pixel": bits} if bits else {}
        print_json({"model": model, "data": data, "input": source.record(), **measured, **told, **found, **detecting})
    else:
        areas = {f"AUROC {name}": value for name, value in detecting.get("auroc", {}).items() if value is not None}
        stored = {f"bits per pixel, {dtype}": value for dtype, value in bits.items()}
        lines = [[name, f"{value:.6g}"] for name, value in {**measured, **stored, **areas}.items()]
        print_table([f"{model} on {data}", ""], lines)
        if found:
            _print_judged(found)


def _judging(model: Model, test: Source, data: str, options: dict[str, Any]) -> Callable[[int], dict[str, Any]]:
    """A function from the seed to the figures of the samples. Judge and data are opened here, before anything is computed."""
    from aepipe.judging.judge import Judge
    from aepipe.judging.samples import judge_samples
    from aepipe.progress import say

    if options["split"] == "train":
        raise BadInput("samples are compared with test images, not with those of --split train", "leave out --split")
    shape = model.space.sized("judging samples", "leave out --density")
    judge = Judge(_judge_file(options["judge"], model, test), shape, model.provider, threads=options["threads"])
    model.bundle.density_name(options["density"])
    train = _training_images(data, model, test, options)
    wanted = options["count"] or COUNT
    given = min(len(each) for each in (test, train) if each is not None)
    if given < wanted:
        say(f"note: {given:,} images a set: there are no more")
    if train is None:
        say(f"note: {data} has no training split, so that there is no row for it")
    settings = {"density": options["density"], "count": wanted, "skip_bad": options["skip_bad"]}
    return lambda seed: judge_samples(model, judge, test, train, seed=seed, **settings)


def _detecting(model: Model, test: Source, data: str, options: dict[str, Any]) -> dict[str, Any]:
    """How well the class `normal` is told from the others."""
    from aepipe.judging.one_class import one_class

    return one_class(model, test, _training_images(data, model, test, options), options["normal"], options["density"])


def _training_images(data: str, model: Model, test: Source, options: dict[str, Any]) -> Source | None:
    """The training split, read as the test images are, or None if the data have no splits."""
    from aepipe.images.data import open_images, open_test_split

    asked: dict[str, Any] = {"shape": model.shape, "raw": test.raw, "layout": options["layout"]}
    splits = open_test_split(data, **asked) is not None
    return open_images(data, split="train", **asked) if splits else None


def _judge_file(given: str | None, model: Model, test: Source) -> Path:
    """The judge that was given, else the one that ships with aepipe, if it knows such images."""
    from aepipe.judging.judge import TRAIN_ONE, shipped

    if given:
        return Path(given)
    trained_on = re.match(r"[\w-]*", str(model.bundle.trained.get("data", "")))
    known = "mnist" in ((test.dataset or {}).get("name"), trained_on and trained_on[0])
    if known and model.shape == (1, 28, 28):
        return shipped("mnist")
    message = f"aepipe has no judge for {test.name} and images of shape {list(model.shape)}, only one for MNIST"
    raise BadInput(message, f"give one with --judge FILE.onnx; {TRAIN_ONE}")


def _print_judged(found: dict[str, Any]) -> None:
    """Print the figures of each set of images and of the paths, and below them density, count and judge."""
    sets = {key: found[key] for key in ROWS if found.get(key)}
    for head, columns, rows in (("", COLUMNS, sets), ("path", PATH_COLUMNS, found["paths"])):
        lines = [[key, *(f"{row[name]:.4g}" if name in row else "" for name in columns)] for key, row in rows.items()]
        click.echo()
        print_table([head, *columns], lines)
    judge = found["judge"]
    accuracy = f", which is right about {judge['accuracy']:.2%} of test images" if "accuracy" in judge else ""
    click.echo(f"\ndensity {found['density']}, {found['judged']} images a set, judge {judge['file']}{accuracy}")


def _reconstruction(model: str, options: dict[str, Any]) -> tuple[Any, Any, Model | None]:
    """The function by which a run or a bundle reconstructs a batch, what knows shape and range of its samples, and the opened
    bundle."""
    if (Path(model) / "run.json").exists():
        bundles = ("provider", "precision", "threads", "density", "normal")
        if given := [f"--{name}" for name in bundles if options[name] is not None]:
            raise BadInput(f"a run is computed by torch, {given[0]} belongs to a bundle", f"aepipe export {model}")
        run = entry.open_run(model)
        return entry.reconstruction(run), run, None
    from aepipe.runtime.model import BATCH, load

    settings = {"precision": options["precision"] or "fp32", "threads": options["threads"]}
    settings["batch_size"] = options["batch_size"] or BATCH
    opened = load(model, options["provider"] or "auto", **settings)
    opened.start("encoder", "decoder")
    return opened.reconstruct_batch, opened, opened
