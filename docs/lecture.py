"""The lecture's experiments on MNIST, from training to figures: python docs/lecture.py [--quick] [--page] [-o FOLDER]

They follow F. Fleuret's deep learning course, lecture 7.2, with further densities. Everything shown is computed by exported
bundles through ONNX Runtime. Finished parts are not done again, so that the program can be stopped and started at any time. It
takes about three hours on two cores, and three minutes with --quick, which only shows that everything works.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import aepipe
import numpy as np
from aepipe import figures, plugins
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from aepipe.judging.metrics import evaluate
from aepipe.progress import say
from aepipe.workshop.run import Run
from checkerboard import checkerboard
from detection import available, detection
from goals import DETECTION
from lecture_page import page
from lecture_restoration import restoration
from sampling import SAMPLED, TITLES, judge_samples, sample_figures
from speed import speed

PAIRS = {"pca": ("pca", "pca"), "conv": ("conv", "deconv"), "resnet": ("resnet", "resnet")}  # encoder and decoder
DENSITIES = ("gaussian", "full=pca", "gmm10=gmm:components=10", "gmm50=gmm:components=50", "gmm200=gmm:components=200")
PICTURES = 12  # images in a row
RESULTS = "results.json"


@dataclass(frozen=True)
class Plan:
    """What is trained and measured, and for how long."""

    data: str
    sizes: tuple[int, ...]
    epochs: int
    limit: int | None
    densities: tuple[str, ...]
    corruptions: dict[str, int]  # each corruption, and the epochs of the model that undoes it
    restorer_of_all: int  # epochs of the model that undoes all corruptions
    detectors: dict[str, dict[str, Any]]  # options of the models that are trained on one class
    detected: tuple[str, ...]  # the data sets whose classes they are trained on
    classes: int  # the number of these classes in each data set
    judged: tuple[int, int]  # the latent size whose samples are judged, and how many
    timed: int  # images that the pairs are trained on to compare their speed


CORRUPTIONS = {
    "gaussian:sigma=0.25": 4,
    "gaussian:sigma=0.5": 22,
    "gaussian:sigma=1": 3,
    "erase:p=0.5": 10,
    "erase:p=0.9": 3,
}
DETECTORS: dict[str, dict[str, Any]] = {
    "PCA, d = 32": {"encoder": "pca", "decoder": "pca", "latent_dim": 32, "densities": ["pca"]},
    "residual, d = 16": {
        "encoder": "resnet",
        "decoder": "resnet",
        "latent_dim": 16,
        "densities": ["gmm=gmm:components=10"],
        "epochs": 14,
        "schedule": "cosine",
        "lr": 2e-3,
        "batch_size": 64,
    },
}
WHOLE = Plan(
    data="mnist",
    sizes=(2, 4, 8, 16, 32),
    epochs=12,
    limit=None,
    densities=DENSITIES,
    corruptions=CORRUPTIONS,
    restorer_of_all=4,
    detectors=DETECTORS,
    detected=("mnist", "fashion-mnist"),
    classes=10,
    judged=(16, 10_000),
    timed=6000,
)
QUICK = Plan(
    data="digits",
    sizes=(2, 8),
    epochs=1,
    limit=300,
    densities=(*DENSITIES[:2], "gmm5=gmm:components=5"),
    corruptions={"gaussian:sigma=0.5": 1},
    restorer_of_all=1,
    detectors={"PCA, d = 8": {**DETECTORS["PCA, d = 32"], "latent_dim": 8}},
    detected=("digits",),
    classes=2,
    judged=(8, 100),
    timed=300,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="digits instead of MNIST, two sizes, one epoch")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/lecture"), metavar="FOLDER")
    parser.add_argument("--runs", type=Path, default=Path("runs/lecture"), metavar="FOLDER")
    parser.add_argument("--page", action="store_true", help="only write the page again, from the results in FOLDER")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else WHOLE
    if arguments.page:
        write_page(plan, json.loads((arguments.out / RESULTS).read_text(encoding="utf-8")), arguments.out)
        return
    if "flow" in plugins.names("density"):
        plan = replace(plan, densities=(*plan.densities, "flow"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    runs, out = arguments.runs, arguments.out
    bundles = {(kind, d): made(plan, kind, d, runs) for d in plan.sizes for kind in TITLES}
    results = measure(plan, bundles, out)
    draw(plan, bundles, out)
    limit, epochs = plan.limit or 6000, max(1, plan.epochs // 6)  # early in training a grid is easiest to see
    d, count = plan.judged
    steps: dict[str, Callable[[], Any]] = {
        "speed": lambda: speed(plan.data, PAIRS, plan.timed, runs),
        "checkerboard": lambda: checkerboard(plan.data, limit, epochs, runs, out),
        "judged": lambda: {kind: judge_samples(plan.data, bundles[kind, d], count) for kind in TITLES if kind != "pca"},
        "restoration": lambda: restoration(plan, runs, out),
    }
    for data in plan.detected:
        if DETECTION + data not in results and available(data):
            steps[DETECTION + data] = partial(detection, data, range(plan.classes), plan.detectors, runs)
    for name, step in steps.items():
        if name not in results:
            say(name)
            results[name] = step()
            save(results, out)
    write_page(plan, results, out)


def write_page(plan: Plan, results: dict[str, Any], out: Path) -> None:
    (out / "README.md").write_text(page(plan, results), encoding="utf-8")
    say(f"{out / 'README.md'}: done")


def made(plan: Plan, kind: str, d: int, folder: Path) -> Path:
    """The bundle of one model. The model is trained, or resumed, unless the bundle exists."""
    run, bundle = folder / f"{kind}-d{d}", folder / "exported" / f"{kind}-d{d}"
    if (bundle / "manifest.json").exists():
        return bundle
    say(f"{TITLES[kind]}, d = {d}")
    if (run / "run.json").exists():
        trained = aepipe.resume(run)
    else:
        encoder, decoder = PAIRS[kind]
        recipe = {"epochs": plan.epochs, "schedule": "cosine", "lr": 2e-3}
        # Samples are shown from the lecture's networks, if their latent size is not too small, and from the residual network
        # whose samples are judged.
        shown = (kind == "conv" and d >= SAMPLED) or (kind, d) == ("resnet", plan.judged[0])
        wanted = plan.densities if shown else plan.densities[:2]
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
    """Measure every figure of the tables and keep it in results.json."""
    path = out / RESULTS
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"epochs": plan.epochs}
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
    """Draw reconstructions in the lecture's arrangement, interpolations and samples."""
    shown = as_float(open_images(plan.data, split="test").read(np.arange(2 * PICTURES)))
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
    sample_figures(models, plan.judged[0], shown[:PICTURES], out)
    for model in models.values():
        model.close()


if __name__ == "__main__":
    try:
        main()
    except aepipe.AepipeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
