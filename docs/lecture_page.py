"""The page of the lecture's experiments: its texts, and tables of what lecture.py has measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aepipe.benchmark.report import table
from checkerboard import PERIODS
from checkerboard import TITLES as TITLES_OF_DECODERS
from detection import SCORES
from goals import DETECTION, HEADER, goal_lines
from sampling import SAMPLED, TITLES, header, sample_lines

if TYPE_CHECKING:
    from lecture import Plan

PAGE = """\
# Deep autoencoders: the lecture's experiments

After F. Fleuret's deep learning course, lecture 7.2: {what}. Made by `make lecture`, all of it from exported bundles through
ONNX Runtime."""
RECONSTRUCTION = """\
Mean squared error per pixel (0..1) and PSNR in dB on the test images. PCA is the best linear autoencoder; `conv` is the lecture's
network, `resnet` a residual one."""
SAMPLING = """\
A density is fitted to the codes of the training images; samples of it are decoded. The lecture ends with the diagonal Gaussian
(`gaussian`), whose samples "are unsatisfying, because the density model is too simple". `full` has all covariances, `gmm` is a
mixture of such Gaussians, `flow` the normalising flow of [aepipe-flow](../../plugins/aepipe-flow). The table holds the mean
log-likelihood, in nats, of the codes that the lecture's networks make of the test images."""

JUDGED = """\
What the judge says of {count:,} samples at d = {d} (`aepipe eval --density` explains the columns), beside real training images,
which are the floor, reconstructions, and mid-points: of straight lines, of arcs about the mean code (slerp) and of arcs in the
noise of a density. `relative` is the Fréchet distance by that of the lecture's networks' reconstructions."""
GRIDS = """\
Where the kernel of a transposed convolution is not a multiple of its stride, output pixels are sums of unequally many terms and
a grid appears. Three small decoders, trained alike and briefly; the artefact is the energy of their reconstructions at the
frequency of a stride, every 3 or every 2 pixels, divided by that of the originals (a little blur and no grid: far below 1). Even
overlaps halve what a stride of 3 leaves at its own frequency; what is left at every second pixel, where digits themselves have
next to nothing, goes with neither, because the pixels between are still made by other weights. Interpolation is free of both."""

RESTORATION = """\
Trained on spoiled input and clean target: residual networks with 128 numbers in the middle, one for each corruption and one that
met all of them ({epochs}).
PSNR in dB of the mean squared error on the test images. The best linear restorer is the least-squares map from spoiled to clean
training images, clipped to 0..1."""

ONE_CLASS = """\
A model for each class, trained on that class alone, tells it from the nine others in the test split: the mean area under the ROC
curve, by reconstruction error, by the log-density of the code, and by both (`aepipe eval --normal`).
The mixture's number of components was chosen by MNIST's own figures here, among six, which flatters them by a thousandth or two."""

GOALS = """\
What was set out to be reached (`python docs/goals.py` prints it). The best of the bundled pairs and densities counts; the
distances are relative to the lecture's networks."""


def page(plan: Plan, results: dict[str, Any]) -> str:
    """The page that puts figures and tables together."""
    what = f"{plan.data}, {plan.epochs} epoch{'s' * (plan.epochs > 1)} each" + (
        f", the first {plan.limit} images" if plan.limit else ""
    )
    sections = [PAGE.format(what=what)]
    if plan.data == "mnist":
        sections += ["## Goals", GOALS, table(HEADER, goal_lines(results, plan.epochs))]
    sections += ["## Reconstruction", RECONSTRUCTION, reconstruction_table(plan, results)]
    sections += [f"![{title}](reconstruct-{kind}.png)" for kind, title in TITLES.items()]
    sections += [
        "## Interpolation",
        "Straight lines between two codes, decoded: PCA blends two images, an autoencoder goes through shapes.",
    ]
    for kind, d in dict.fromkeys([("pca", plan.sizes[-1]), ("conv", 8), ("conv", plan.sizes[-1])]):
        sections.append(f"![{TITLES[kind]}, d = {d}](interpolate-{kind}-d{d}.png)")
    sections += ["## Sampling", SAMPLING, likelihood_table(plan, results)]
    d, count = plan.judged
    judged = results["judged"]
    base = judged["conv"]["reconstructions"]["frechet"]
    sections += ["![samples](samples.png)", JUDGED.format(d=d, count=count)]
    for kind, found in judged.items():
        sections += [f"### {TITLES[kind]}", table(header(), sample_lines(found, base))]
    sections.append("### Sheets of samples")
    for kind, size in [*(("conv", size) for size in plan.sizes if size >= SAMPLED), ("resnet", d)]:
        for density in results[f"{kind}-d{size}"]["log_likelihood"]:
            sections.append(f"![{TITLES[kind]}, d = {size}, {density}](sample-{kind}-d{size}-{density}.png)")
    sections += [*grids(results), *restored(plan, results), *detected(plan, results)]
    return "\n\n".join(sections) + "\n"


def grids(results: dict[str, Any]) -> list[str]:
    lines = [
        [TITLES_OF_DECODERS[name], f"{each['mse']:.5f}", *(f"{each[f'artefact_{period}']:.3f}" for period in PERIODS)]
        for name, each in results["checkerboard"].items()
    ]
    head = ["decoder", "MSE", *(f"artefact, every {period}" for period in PERIODS)]
    return ["## Grids", GRIDS, table(head, lines), "![grids](checkerboard.png)"]


def restored(plan: Plan, results: dict[str, Any]) -> list[str]:
    lengths = [*plan.corruptions.values(), plan.restorer_of_all]
    epochs = f"{', '.join(map(str, lengths))} epochs, in the order of the table and for the one that met all"
    columns = {"input": "spoiled", "linear": "best linear", "own": "a model for it", "all": "one model for all"}
    lines = [[name, *(f"{each[key]:.2f}" for key in columns)] for name, each in results["restoration"].items()]
    text = RESTORATION.format(epochs=epochs)
    return ["## Restoration", text, table(["corruption", *columns.values()], lines), "![restoration](restoration.png)"]


def detected(plan: Plan, results: dict[str, Any]) -> list[str]:
    lines = [
        [data, name, *(f"{each[score]:.4f}" for score in SCORES)]
        for data in plan.detected
        for name, each in results.get(DETECTION + data, {}).items()
    ]
    return ["## One-class detection", ONE_CLASS, table(["data", "model", "error", "log-density", "combined"], lines)]


def reconstruction_table(plan: Plan, results: dict[str, Any]) -> str:
    lines = [
        [str(d)]
        + [f"{results[f'{kind}-d{d}'][key]:.{digits}f}" for key, digits in (("mse", 5), ("psnr", 2)) for kind in TITLES]
        for d in plan.sizes
    ]
    head = ["d", *(f"{name} {title}" for name in ("MSE", "PSNR") for title in TITLES.values())]
    return table(head, lines, left=0)


def likelihood_table(plan: Plan, results: dict[str, Any]) -> str:
    sizes = [d for d in plan.sizes if d >= SAMPLED]
    found = {d: results[f"conv-d{d}"]["log_likelihood"] for d in sizes}
    names = list(next(iter(found.values())))
    return table(["d", *names], [[str(d), *(f"{found[d][name]:.2f}" for name in names)] for d in sizes], left=0)
