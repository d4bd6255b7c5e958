"""The lecture's experiments on MNIST, from training to figures: python docs/lecture.py [--quick] [-o FOLDER] [--runs FOLDER]

F. Fleuret's deep learning course, lecture 7.2, with densities that go past it. Everything shown is computed by exported bundles
through ONNX Runtime. What is finished is not done again, so that it can be stopped and started at any time; one to two hours on two
cores, three minutes with --quick, which shows that everything works and nothing else.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aepipe
import numpy as np
from aepipe import figures, plugins
from aepipe.benchmark_report import table
from aepipe.data import open_images
from aepipe.metrics import evaluate
from aepipe.progress import say
from aepipe.run import Run
from checkerboard import TITLES as TITLES_OF_DECODERS
from checkerboard import checkerboard
from restoration import restoration
from sampling import header, judge_samples, sample_lines

TITLES = {"pca": "PCA", "conv": "Autoencoder", "resnet": "Residual autoencoder"}
PAIRS = {"pca": ("pca", "pca"), "conv": ("conv", "deconv"), "resnet": ("resnet", "resnet")}  # encoder and decoder
DENSITIES = ("gaussian", "full=pca", "gmm10=gmm:components=10", "gmm50=gmm:components=50", "gmm200=gmm:components=200")
PICTURES = 12  # in a row
RESULTS = "results.json"

PAGE = """\
# Deep autoencoders: the lecture's experiments

After F. Fleuret's deep learning course, lecture 7.2: {what}. Made by `make lecture`, all of it from exported bundles through
ONNX Runtime.

## Reconstruction

Mean squared error per pixel (0..1) and PSNR in dB on the test images. PCA is the best linear autoencoder."""
SAMPLING = """\
A density is fitted to the codes of the training images; samples of it are decoded. The lecture ends with the diagonal Gaussian
(`gaussian`), whose samples "are unsatisfying, because the density model is too simple". `full` has all covariances, `gmm` is a
mixture of such Gaussians, `flow` the normalising flow of [aepipe-flow](../../plugins/aepipe-flow). The table holds the mean
log-likelihood, in nats, of the codes of the test images."""

JUDGED = """\
What the judge says of {count:,} samples at d = {d} (`aepipe eval --density` explains the columns), beside real training images,
which are the floor, reconstructions and the mid-points of straight lines. The first column is the Fréchet distance by that of the
reconstructions."""
GRIDS = """\
Where the kernel of a transposed convolution is not a multiple of its stride, output pixels are sums of unequally many terms and
a grid appears. Three small decoders, trained alike and briefly; the artefact is the energy of their reconstructions at the
frequency of the stride, divided by that of the originals (a little blur and no grid: far below 1)."""

RESTORATION = """\
Trained on spoiled input and clean target: residual networks with 64 numbers in the middle, one for each corruption and one that
met all of them. PSNR in dB of the mean squared error on the test images. The best linear restorer is the least-squares map from
spoiled to clean training images, clipped to 0..1."""


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    data: str
    sizes: tuple[int, ...]
    epochs: int
    limit: int | None
    densities: tuple[str, ...]
    corruptions: tuple[str, ...]
    restorers: dict[str, Any]  # the recipe of the models that restore
    judged: tuple[int, int]  # the latent size whose samples are judged, and how many


CORRUPTIONS = ("gaussian:sigma=0.25", "gaussian:sigma=0.5", "gaussian:sigma=1", "erase:p=0.5", "erase:p=0.9")
WHOLE = Plan("mnist", (2, 4, 8, 16, 32), 12, None, DENSITIES, CORRUPTIONS, {"epochs": 4, "limit": None}, (16, 10_000))
FEW = (*DENSITIES[:2], "gmm5=gmm:components=5")
QUICK = Plan("digits", (2, 8), 1, 300, FEW, ("gaussian:sigma=0.5",), {"epochs": 1, "limit": 200}, (8, 100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="digits instead of MNIST, two sizes, one epoch")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/lecture"), metavar="FOLDER")
    parser.add_argument("--runs", type=Path, default=Path("runs/lecture"), metavar="FOLDER")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else WHOLE
    if "flow" in plugins.names("density"):
        plan = Plan(**{**vars(plan), "densities": (*plan.densities, "flow")})
    arguments.out.mkdir(parents=True, exist_ok=True)
    bundles = {(kind, d): made(plan, kind, d, arguments.runs) for d in plan.sizes for kind in TITLES}
    results = measure(plan, bundles, arguments.out)
    draw(plan, bundles, arguments.out)
    if "checkerboard" not in results:
        epochs, limit = max(1, plan.epochs // 6), plan.limit or 6000  # early in training, where the eye sees it best
        results["checkerboard"] = checkerboard(plan.data, limit, epochs, arguments.runs, arguments.out)
        save(results, arguments.out)
    if "judged" not in results:
        d, count = plan.judged
        results["judged"] = judge_samples(plan.data, bundles["conv", d], count)
        save(results, arguments.out)
    if "restoration" not in results:
        runs, out = arguments.runs, arguments.out
        results["restoration"] = restoration(plan.data, plan.corruptions, plan.restorers, runs, out)
        save(results, arguments.out)
    (arguments.out / "README.md").write_text(page(plan, results), encoding="utf-8")
    say(f"{arguments.out / 'README.md'}: done")


def made(plan: Plan, kind: str, d: int, folder: Path) -> Path:
    """The bundle of one model: trained, resumed or taken as it is."""
    run, bundle = folder / f"{kind}-d{d}", folder / "exported" / f"{kind}-d{d}"
    if (bundle / "manifest.json").exists():
        return bundle
    say(f"{TITLES[kind]}, d = {d}")
    if (run / "run.json").exists():
        trained = aepipe.resume(run)
    else:
        encoder, decoder = PAIRS[kind]
        recipe = {"epochs": plan.epochs, "schedule": "cosine", "lr": 2e-3}
        wanted = plan.densities if kind == "conv" else plan.densities[:2]  # samples are shown of the lecture's networks
        trained = aepipe.fit(
            plan.data,
            latent_dim=d,
            limit=plan.limit,
            densities=wanted,
            encoder=encoder,
            decoder=decoder,
            out=run,
            **recipe,
        )
    return Run(trained.directory).export(bundle)


def measure(plan: Plan, bundles: dict[tuple[str, int], Path], out: Path) -> dict[str, Any]:
    """Every figure of the tables, kept in results.json."""
    path = out / RESULTS
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    images = open_images(plan.data, split="test")
    for (kind, d), bundle in bundles.items():
        name = f"{kind}-d{d}"
        if name in results:
            continue
        say(f"measuring {name}")
        with aepipe.load(bundle, "cpu", batch_size=500) as model:
            found = evaluate(model.reconstruct_batch, images)
            likelihoods = {
                each: float(model.score(images, each)["log_density"].mean()) for each in model.bundle.densities
            }
        results[name] = {**found, "log_likelihood": likelihoods}
        save(results, out)
    return results


def save(results: dict[str, Any], out: Path) -> None:
    (out / RESULTS).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def draw(plan: Plan, bundles: dict[tuple[str, int], Path], out: Path) -> None:
    """Reconstructions in the lecture's arrangement, interpolations, samples."""
    shown = open_images(plan.data, split="test").read(np.arange(2 * PICTURES)).astype(np.float32) / 255
    models = {key: aepipe.load(bundle, "cpu") for key, bundle in bundles.items()}
    for kind, title in TITLES.items():
        named = [("original", shown[:PICTURES])]
        named += [(f"d = {d}", models[kind, d].reconstruct(shown[:PICTURES])) for d in plan.sizes]
        picture = figures.rows(
            named, title=f"{title}: reconstruction", subtitle="test images and what d numbers keep of them"
        )
        figures.save(picture, out / f"reconstruct-{kind}.png")
    largest = plan.sizes[-1]
    for kind, d in dict.fromkeys([("pca", largest), ("conv", 8), ("conv", largest)]):
        lines = models[kind, d].interpolate(shown[:PICTURES:2], shown[1:PICTURES:2], 12)
        labels = [f"{alpha:.2f}" for alpha in np.linspace(0, 1, 12)]
        picture = figures.strips(
            lines, title=f"{TITLES[kind]}, d = {d}", subtitle="g((1 - α) f(x) + α f(x'))", column_labels=labels
        )
        figures.save(picture, out / f"interpolate-{kind}-d{d}.png")
    for d in [size for size in plan.sizes if size >= 8]:
        for density in models["conv", d].bundle.densities:
            images = models["conv", d].sample(60, density, seed=0)
            picture = figures.sheet(images, title=f"Autoencoder, d = {d}", subtitle=f"density {density}", columns=12)
            figures.save(picture, out / f"sample-d{d}-{density}.png")
    for model in models.values():
        model.close()


def page(plan: Plan, results: dict[str, Any]) -> str:
    """The page that puts figures and tables together."""
    what = f"{plan.data}, {plan.epochs} epoch{'s' * (plan.epochs > 1)} each" + (
        f", the first {plan.limit} images" if plan.limit else ""
    )
    sections = [PAGE.format(what=what), reconstruction_table(plan, results)]
    sections += [f"![{title}](reconstruct-{kind}.png)" for kind, title in TITLES.items()]
    sections += [
        "## Interpolation",
        "Straight lines between two codes, decoded: PCA blends two images, an autoencoder goes through shapes.",
    ]
    for kind, d in dict.fromkeys([("pca", plan.sizes[-1]), ("conv", 8), ("conv", plan.sizes[-1])]):
        sections.append(f"![{TITLES[kind]}, d = {d}](interpolate-{kind}-d{d}.png)")
    sections += ["## Sampling", SAMPLING, likelihood_table(plan, results)]
    d, count = plan.judged
    sections += [JUDGED.format(d=d, count=count), table(header(), sample_lines(results["judged"]))]
    for d in [size for size in plan.sizes if size >= 8]:
        for density in results[f"conv-d{d}"]["log_likelihood"]:
            sections.append(f"![d = {d}, {density}](sample-d{d}-{density}.png)")
    artefacts = results["checkerboard"]
    lines = [
        [TITLES_OF_DECODERS[name], f"{each['mse']:.5f}", f"{each['artefact']:.3f}"] for name, each in artefacts.items()
    ]
    sections += ["## Grids", GRIDS, table(["decoder", "MSE", "artefact"], lines), "![grids](checkerboard.png)"]
    columns = {"input": "spoiled", "linear": "best linear", "own": "a model for it", "all": "one model for all"}
    lines = [[name, *(f"{each[key]:.2f}" for key in columns)] for name, each in results["restoration"].items()]
    sections += [
        "## Restoration",
        RESTORATION,
        table(["corruption", *columns.values()], lines),
        "![restoration](restoration.png)",
    ]
    return "\n\n".join(sections) + "\n"


def reconstruction_table(plan: Plan, results: dict[str, Any]) -> str:
    lines = [
        [str(d)]
        + [f"{results[f'{kind}-d{d}'][key]:.{digits}f}" for key, digits in (("mse", 5), ("psnr", 2)) for kind in TITLES]
        for d in plan.sizes
    ]
    head = ["d", *(f"{name} {title}" for name in ("MSE", "PSNR") for title in TITLES.values())]
    return table(head, lines, left=0)


def likelihood_table(plan: Plan, results: dict[str, Any]) -> str:
    found = {d: results[f"conv-d{d}"]["log_likelihood"] for d in plan.sizes}
    names = list(next(iter(found.values())))
    return table(["d", *names], [[str(d), *(f"{found[d][name]:.2f}" for name in names)] for d in plan.sizes], left=0)


if __name__ == "__main__":
    main()
