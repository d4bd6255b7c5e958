"""Detector pulses: reconstructed, told from anomalies, and denoised beside the filters that are usual for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aepipe
import numpy as np
from aepipe import figures
from aepipe.benchmark.report import table
from aepipe.images.corruption import corruption, spoiled
from aepipe.images.data import open_images
from aepipe.images.source import Source
from aepipe.judging.anomaly import calibrate
from aepipe.judging.distances import auroc
from aepipe.judging.metrics import evaluate, snr
from aepipe_signals.scintillator import GOOD, KINDS
from scipy.signal import savgol_filter

D, D_DENOISE, SHOWN, FALSE_ALARM, SEED = 8, 16, 6, 0.01, 0
NOISE = "electronic:sigma=20"  # in mV
FILTERS = [(window, order) for window in range(5, 42, 4) for order in (2, 3, 4)]

SECTION = """\
## Pulses

{count:,} good pulses of a NaI(Tl) scintillator, 256 samples in mV: `aepipe train --data pulses:only=good --latent-dim {d}`.
Reconstructions of good test pulses have a signal-to-noise ratio of {ae:.1f} dB (PCA with as many numbers: {pca:.1f} dB). Electronic
noise and shot noise cannot be restored from {d} numbers.

![test pulses of every kind above their reconstructions](pulses.png)

### Anomalies

`aepipe infer score`: the area under the ROC curve between good test pulses and those of each kind, which never trained (0.5 is
chance, 1 is perfect), by the error, by the density of the code and by both together. The last column is the share that alarms,
where calibration on {calibrated:,} other good pulses allows {false_alarm:.0%} of false alarms.

{detection}

### Denoising

Mean pulses without any noise, spoiled by `{noise}` (white and 1/f noise, in mV), learned with {dd} numbers.
The filters know as much as can be: the Savitzky-Golay filter has the window and order that suit the training pulses best
({window} samples, order {order}), and the Wiener filter is the best affine map from spoiled to clean training pulses. Figures are
of the test pulses: the signal-to-noise ratio, and the deviation (rms) of the height of the pulse.

{denoising}

![clean, noisy and restored pulses](denoising.png)
"""


def pulse_section(count: int, model: Callable[..., aepipe.Model], out: Path) -> str:
    """Train on `count` pulses, measure, draw two figures into `out`; returns this part of the page."""
    data = f"pulses:only=good,count={count}"
    models = {
        "autoencoder": model("pulses", data, D),
        "PCA": model("pulses-pca", data, D, pca=True),
    }
    test = open_images(f"pulses:count={count}", split="test")
    assert test.labels is not None  # of this data set
    good = test.pick(np.flatnonzero(test.labels == GOOD))
    ratios = [evaluate(each.reconstruct_batch, good, unbounded=True)["snr"] for each in models.values()]
    usual = f"pulses:only=good,count={count},seed=1"
    lines = [line for name, each in models.items() for line in detection(name, each, test, usual)]
    header = ["model", "kind", "error", "density", "both", "alarms"]
    draw_kinds(models["autoencoder"], test, out)
    clean = f"pulses:only=good,noise=0,photoelectrons=0,bits=none,count={count}"
    denoised, (window, order) = denoising(model("denoiser", clean, D_DENOISE, corrupt=NOISE), clean, out)
    facts = {"count": count, "calibrated": max(count // 5, 1), "d": D, "dd": D_DENOISE, "noise": NOISE}
    return SECTION.format(
        **facts,
        ae=ratios[0],
        pca=ratios[1],
        detection=table(header, lines, left=2),
        denoising=table(["", "SNR [dB]", "height [mV]"], denoised),
        false_alarm=FALSE_ALARM,
        window=window,
        order=order,
    )


def detection(name: str, model: aepipe.Model, test: Source, usual: str) -> list[list[str]]:
    """A line for each kind of anomaly: areas under the ROC curve, and the share that alarms."""
    scores = model.score(test.read(np.arange(len(test))))
    judged = calibrate(model, usual, FALSE_ALARM).judge(scores)
    columns = {"error": scores["error"], "density": -scores["log_density"], "both": judged["anomaly"]}
    lines = []
    for label, kind in enumerate(KINDS):
        mine = test.labels == label
        both = mine | (test.labels == GOOD)
        areas = ["–" if label == GOOD else f"{auroc(values[both], mine[both]):.3f}" for values in columns.values()]
        lines.append([name, kind, *areas, f"{judged['alarm'][mine].mean():.1%}"])
    return lines


def draw_kinds(model: aepipe.Model, test: Source, out: Path) -> None:
    """A pulse of every kind, above what the model makes of it."""
    first = test.pick(np.array([np.flatnonzero(test.labels == label)[0] for label in range(len(KINDS))]))
    pulses = first.read(np.arange(len(first)))
    named = [("pulse", pulses), ("restored", model.reconstruct(pulses))]
    picture = figures.rows(
        named, title="Pulses", subtitle=f"{', '.join(KINDS)}, in mV", columns=len(KINDS), bounded=False
    )
    figures.save(picture, out / "pulses.png")


def denoising(model: aepipe.Model, data: str, out: Path) -> tuple[list[list[str]], tuple[int, int]]:
    """A line for each way to restore the test pulses, and window and order of the best Savitzky-Golay filter."""
    corrupt = corruption(NOISE, bounded=False)

    def pair(split: str) -> tuple[np.ndarray, np.ndarray]:
        source = open_images(data, split=split)
        clean = source.read(np.arange(len(source)))
        return clean, spoiled(corrupt, clean, np.arange(len(clean)), SEED)

    (known, known_bad), (clean, bad) = pair("train"), pair("test")
    best = min(FILTERS, key=lambda each: np.square(savgol_filter(known_bad, *each) - known).mean())
    restored = {
        "noisy": bad,
        "Savitzky-Golay filter": savgol_filter(bad, *best),
        "Wiener filter": wiener(known_bad, known, bad),
        "autoencoder": model.denoise(bad),
    }
    lines = []
    for name, pulses in restored.items():
        ratio = snr(float(np.square(pulses - clean).mean() / clean.var()))
        lines.append([name, f"{ratio:.1f}", f"{np.square(pulses.max(2) - clean.max(2)).mean() ** 0.5:.1f}"])
    named = [("clean", clean[:SHOWN]), *((name, pulses[:SHOWN]) for name, pulses in restored.items())]
    figures.save(
        figures.rows(named, title="Denoising", subtitle="test pulses in mV", bounded=False), out / "denoising.png"
    )
    return lines, best


def wiener(known_bad: np.ndarray, known: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """`bad` restored by the affine map with the least squared error on the training pulses."""
    inputs, targets = (each.reshape(len(each), -1).astype(np.float64) for each in (known_bad, known))
    mean_in, mean_out = inputs.mean(0), targets.mean(0)
    matrix = np.linalg.lstsq(inputs - mean_in, targets - mean_out, rcond=None)[0]
    return ((bad.reshape(len(bad), -1) - mean_in) @ matrix + mean_out).reshape(bad.shape)
