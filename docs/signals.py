"""Signals and volumes, from training to figures: python docs/signals.py [--quick] [-o FOLDER] [--runs FOLDER]

Autoencoders of detector pulses and of calorimeter showers, which the plugin aepipe-signals simulates and which has to be
installed. Everything shown is computed by exported bundles through ONNX Runtime. Models that are there are not trained again. It
takes some minutes on two cores, and less than one with --quick, which only shows that everything works.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aepipe
from aepipe.progress import say
from pulses import pulse_section
from showers import shower_section


@dataclass(frozen=True)
class Plan:
    """What is trained, and on how much. `nets` are encoder and decoder, beside which PCA stands with as many numbers."""

    pulses: int  # to train on; a fifth as many are there to test
    showers: int
    epochs: int
    nets: tuple[str, str]
    density: str


FULL = Plan(20_000, 10_000, 15, ("mlp:hidden=256/128", "mlp:hidden=128/256"), "gmm:components=20")
QUICK = Plan(600, 200, 2, ("conv:channels=4", "deconv:channels=4"), "gmm:components=2")

PAGE = """\
# Signals and volumes

Made by `python docs/signals.py{quick}` from simulated data of [aepipe-signals](../../plugins/aepipe-signals), which says what is in
them and where their physics is from. Networks are `{encoder}` and `{decoder}`, trained for
{epochs} epochs; the density of their codes is `{density}`.

{pulses}
{showers}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny settings, which only show that everything works")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/signals"), metavar="FOLDER")
    parser.add_argument("--runs", type=Path, default=Path("runs/signals"), metavar="FOLDER")
    arguments = parser.parse_args()
    plan, out = QUICK if arguments.quick else FULL, arguments.out
    out.mkdir(parents=True, exist_ok=True)

    def model(name: str, data: str, d: int, *, pca: bool = False, **more: Any) -> aepipe.Model:
        return trained(plan, arguments.runs / name, data, d, pca, **more)

    sections = {"pulses": pulse_section(plan.pulses, model, out), "showers": shower_section(plan.showers, model, out)}
    encoder, decoder = plan.nets
    facts = {"encoder": encoder, "decoder": decoder, "epochs": plan.epochs, "density": plan.density}
    quick = " --quick" if arguments.quick else ""
    (out / "README.md").write_text(PAGE.format(quick=quick, **facts, **sections), encoding="utf-8")
    say(f"{out / 'README.md'}: done")


def trained(plan: Plan, folder: Path, data: str, d: int, pca: bool, **more: Any) -> aepipe.Model:
    """A model on the CPU. It is trained and exported unless its bundle exists."""
    bundle = folder / "bundle"
    if not (bundle / "manifest.json").exists():
        say(folder.name)
        encoder, decoder = ("pca", "pca") if pca else plan.nets
        recipe = {"epochs": plan.epochs, "schedule": "cosine", "lr": 2e-3, "densities": [plan.density], **more}
        run = aepipe.fit(
            data, encoder=encoder, decoder=decoder, latent_dim=d, out=folder / "run", overwrite=True, **recipe
        )
        run.export(bundle)
    return aepipe.load(bundle, "cpu", batch_size=500)


if __name__ == "__main__":
    try:
        main()
    except aepipe.AepipeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
