"""The page of the lecture's experiments: its texts, and tables of what lecture.py has measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aepipe.benchmark.report import table
from checkerboard import KERNELS, PERIODS
from checkerboard import TITLES as TITLES_OF_DECODERS
from detection import PUBLISHED, SCORES
from goals import DETECTION, HEADER, RESTORED, goal_lines
from sampling import COLUMNS, PATH_COLUMNS, SAMPLED, TITLES, header, path_lines, sample_lines, sets

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
which are the floor, reconstructions, and mid-points between any two test images: of straight lines, of arcs about the mean code
(slerp) and of arcs in the noise of a density. `relative` is the Fréchet distance by that of the same network's reconstructions:
how much the density adds to what code and decoder lose, and 1 where it adds nothing. Networks are compared by `frechet` itself."""
NOT_JUDGED = "A dash in every line: {columns} came later than these figures, whose models were not judged again."
PATHS = """\
Mid-points look good wherever a path visits typical images, whatever they have to do with its ends. So the paths between test
images of one class are followed too, in 8 steps: how often the middle keeps the class to the judge, how long the path is in the
judge's features by the direct way, and how large its largest step by that way (1/8 is even, 1 a leap)."""
NOT_FOLLOWED = """\
The paths of these models were not followed, so that their mid-points, and the goal above, say nothing on that;
`aepipe eval exported/mnist-d8 --data mnist --density pca` follows those of the bundle that comes with aepipe."""
GRIDS = """\
Where the kernel of a transposed convolution is not a multiple of its stride, output pixels are sums of unequally many terms and
a grid can appear. Three small decoders, trained alike and briefly. A reconstruction is less sharp than its original, so it has less
energy at every high frequency; a grid is a peak among them. The peak is the energy at the frequency of a stride, every 3 or every 2
pixels, by that beside it on both sides, divided by the same figure of the originals: 1 is no grid. The last lines are images of
which that is known, to read the others by."""
GRIDS_FOUND = """\
The decoders' largest peak is {value:.2f}, every {period} pixels: {decoder}. Blurred originals have {blurred:.2f} there."""

RESTORATION = """\
Trained on spoiled input and clean target: residual networks with 128 numbers in the middle, one for each corruption and one that
met all of them, one at a time. They were trained for different numbers of epochs, which are part of the comparison. PSNR in dB
of the mean squared error on the test images. The best linear restorer is the least-squares map from spoiled to clean training
images, clipped to 0..1."""
LONGER = "The models for {names}, which have goals above, were trained longest, {epochs} epochs, to reach them."
SHARED = "One model for all had {epochs} for {count} together"
BELOW = ", and is worse than the best linear restorer at {names}"

ONE_CLASS = """\
A model for each class, trained on that class alone, tells it from the nine others in the test split: the mean area under the ROC
curve, by reconstruction error, by the log-density of the code, and by both (`aepipe eval --normal`).
The mixture's number of components, ten, was chosen among six by looking at MNIST's test figures, which flatters them by a
thousandth or two."""
OTHERS = """\
Published figures of the same task, of other networks and trainings: RaPP (Kim et al., ICLR 2020), which compares activations along
the encoder, and GT (Golan and El-Yaniv, NeurIPS 2018), which learns to tell geometric transformations."""

GOALS = """\
What was set out to be reached (`python docs/goals.py` prints it). The best of the bundled pairs and densities counts. Below is said
how long models were trained for their goals, and what was chosen by looking at test figures."""


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
    sections += ["![samples](samples.png)", JUDGED.format(d=d, count=count)]
    for kind, found in judged.items():
        sections += [f"### {TITLES[kind]}", table(header(), sample_lines(found))]
    sections += [*not_judged(judged), *followed(judged), "### Sheets of samples"]
    for kind, size in [*(("conv", size) for size in plan.sizes if size >= SAMPLED), ("resnet", d)]:
        for density in results[f"{kind}-d{size}"]["log_likelihood"]:
            sections.append(f"![{TITLES[kind]}, d = {size}, {density}](sample-{kind}-d{size}-{density}.png)")
    sections += [*grids(results), *restored(plan, results), *detected(plan, results)]
    return "\n\n".join(sections) + "\n"


def not_judged(judged: dict[str, Any]) -> list[str]:
    """A sentence on the columns that no line has a figure for."""
    kept = {key for found in judged.values() for row in sets(found).values() for key in row}
    missing = [name for name in COLUMNS if name not in kept]
    return [NOT_JUDGED.format(columns=" and ".join(f"`{name}`" for name in missing))] if missing else []


def followed(judged: dict[str, Any]) -> list[str]:
    lines = {kind: path_lines(found) for kind, found in judged.items()}
    if not any(lines.values()):
        return ["### Paths", f"{PATHS}\n{NOT_FOLLOWED}"]
    tables = [(f"{TITLES[kind]}:", table(["path", *PATH_COLUMNS], each)) for kind, each in lines.items()]
    return ["### Paths", PATHS, *(text for each in tables for text in each)]


def grids(results: dict[str, Any]) -> list[str]:
    found = results["checkerboard"]
    lines = [
        [TITLES_OF_DECODERS[name], f"{each['mse']:.5f}", *(f"{each[f'peak_{period}']:.2f}" for period in PERIODS)]
        for name, each in found.items()
    ]
    value, name, period = max((found[name][f"peak_{period}"], name, period) for name in KERNELS for period in PERIODS)
    largest = GRIDS_FOUND.format(
        value=value, decoder=TITLES_OF_DECODERS[name], period=period, blurred=found["blurred"][f"peak_{period}"]
    )
    head = ["decoder", "MSE", *(f"peak, every {period}" for period in PERIODS)]
    return ["## Grids", GRIDS, table(head, lines), largest, "![grids](checkerboard.png)"]


def restored(plan: Plan, results: dict[str, Any]) -> list[str]:
    found, lengths = results["restoration"], plan.corruptions
    lines = [
        [name, *(f"{each[key]:.2f}" for key in ("input", "linear", "own")), str(lengths[name]), f"{each['all']:.2f}"]
        for name, each in found.items()
    ]
    shared = SHARED.format(epochs=_count(plan.restorer_of_all, "epoch"), count=_count(len(found), "corruption"))
    if below := [name for name, each in found.items() if each["all"] < each["linear"]]:
        shared += BELOW.format(names=_listed(below))
    goals = sorted(RESTORED, key=lambda name: lengths.get(name, 0))
    said = [shared + "."]
    if plan.data == "mnist":
        said.append(LONGER.format(names=_listed(goals), epochs=_listed([str(lengths[name]) for name in goals])))
    head = ["corruption", "spoiled", "best linear", "a model for it", "its epochs", "one model for all"]
    return ["## Restoration", RESTORATION, table(head, lines), "\n".join(said), "![restoration](restoration.png)"]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _listed(names: list[str]) -> str:
    return " and ".join(names)


def detected(plan: Plan, results: dict[str, Any]) -> list[str]:
    lines = [
        [data, name, *(f"{each[score]:.4f}" for score in SCORES)]
        for data in plan.detected
        for name, each in results.get(DETECTION + data, {}).items()
    ]
    head = ["data", "model", "error", "log-density", "combined"]
    sections = ["## One-class detection", ONE_CLASS, table(head, lines)]
    others = [[data, name, f"{area:.3f}"] for data, name, area in PUBLISHED if DETECTION + data in results]
    return [*sections, *([OTHERS, table(["data", "method", "area"], others, left=2)] if others else [])]


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
