"""Calibrated anomaly scores: how unusual an image is among normal ones, and an alarm at a chosen false-alarm rate.

Reconstruction error and log-density each become a tail probability: the share of normal images that look at least as
unusual. The two are combined as R. A. Fisher combined tests, T = -2 (ln p_error + ln p_density) (Statistical methods for
research workers, 1932). The two are not independent, so that T does not follow Fisher's chi-squared distribution: the
alarm is set by the ranks of T itself, as in conformal prediction (Vovk, Gammerman and Shafer, 2005).

Both tests are one-sided: an image that is simpler than the normal ones, such as a blank one, has a small error and a
common code, and does not alarm.

Nothing here depends on the kind of the samples: rows, signals and volumes are judged as images are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from aepipe._types import Array
from aepipe.errors import BadInput
from aepipe.files.records import Count, Text, read_record, to_json
from aepipe.files.staged import replacing
from aepipe.runtime.model import Model

FORMAT = 1
LEVELS = 1001  # so many quantiles of each score are kept, one for every tenth of a percent
TAIL = 0.95  # the tail begins at this quantile; the mean excess over it says how fast the tail falls
COLUMNS = ("error", "log_density")

AGAIN = "make it again with 'aepipe infer score BUNDLE --calibrate SPEC -o FILE.json'"

Scores = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The scores of normal images by one bundle, and where alarm begins."""

    format: int = FORMAT
    pair: Text  # the key of that name in the bundle's manifest
    density: Text | None  # None where no density gives log-densities: the error alone decides
    precision: Text
    data: str  # the normal images, of a path its last component alone: the file goes to other machines
    count: Count  # the number of normal images
    false_alarm: Annotated[float, Meta(gt=0, lt=1)]
    threshold: float  # an image alarms if T is larger
    quantiles: dict[str, tuple[float, ...]]  # of `error` and, with a density, `log_density`, LEVELS each, ascending

    def __post_init__(self) -> None:
        """Raises ValueError for quantiles that are not LEVELS ascending finite numbers for each column, and for other columns."""
        columns = COLUMNS if self.density is not None else COLUMNS[:1]
        if unknown := sorted(self.quantiles.keys() - set(columns)):
            raise ValueError(f"there are quantiles of {unknown[0]!r}, and the density is {self.density!r}")
        for column in columns:
            values = self.quantiles.get(column, ())
            if len(values) != LEVELS or not all(map(math.isfinite, values)):
                raise ValueError(f"the quantiles of {column!r} are not {LEVELS} numbers")
            if list(values) != sorted(values):
                raise ValueError(f"the quantiles of {column!r} do not ascend")
        if not math.isfinite(self.threshold):
            raise ValueError("the threshold is not a number")

    def judge(self, scores: Scores) -> Scores:
        """`anomaly`, Fisher's T [N] (0 is the most usual), and `alarm` [N], 1 where T exceeds the threshold, of `error` and
        `log_density` [N] as `Model.score` gives them. What is not a number is as unusual as can be."""
        total = _fisher(scores, self.quantiles, self.count)
        return {"anomaly": total.astype(np.float32), "alarm": (total > self.threshold).astype(np.int64)}

    def save(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all."""
        with replacing(path) as temporary:
            temporary.write_text(to_json(self, indent=None), encoding="utf-8")


def calibrate(model: Model, images: Any, false_alarm: float = 0.05, density: str | None = None) -> Calibration:
    """Learn from normal images, in every form that `Model.score` takes, what is usual: for them and others like them about
    `false_alarm` of 1 will alarm. Raises BadInput for fewer images than that rate needs, 19 for 0.05."""
    check_rate(false_alarm)
    name = model.bundle.scoring(density)
    said = str(images) if isinstance(images, str | Path) else "array"
    return calibration(model, name, model.score(images, name), false_alarm, said)


def calibration(model: Model, density: str | None, scores: Scores, false_alarm: float, data: str) -> Calibration:
    """The same from scores that are there already."""
    count, least = len(scores["error"]), math.ceil(1 / false_alarm - 1e-9) - 1
    if count < least:
        message = f"{count} normal images cannot set a false-alarm rate of {false_alarm:g}"
        raise BadInput(message, f"it needs {least} or more; a few hundred make it precise")
    if density is not None and without_density(scores):
        raise other_size(model, density)
    for column in scores:
        if not np.isfinite(scores[column]).all():
            raise BadInput(f"the {column} of a normal image is not a finite number", "try another --density")
    quantiles = {column: np.quantile(scores[column].astype(float), np.linspace(0, 1, LEVELS)) for column in scores}
    kept = {column: tuple(values.tolist()) for column, values in quantiles.items()}
    rank = math.ceil(
        (count + 1) * (1 - false_alarm) - 1e-9
    )  # the smallest threshold that enough normal images stay below
    threshold = float(np.sort(_fisher(scores, kept, count))[min(rank, count) - 1])
    return Calibration(
        pair=model.bundle.pair,
        density=density,
        precision=model.precision,
        data=PurePath(data).name,
        count=count,
        false_alarm=false_alarm,
        threshold=threshold,
        quantiles=kept,
    )


def without_density(scores: Scores) -> int:
    """How many samples have no log-density, because they are of another size than those of the training."""
    return int(np.isnan(scores["log_density"]).sum()) if "log_density" in scores else 0


def other_size(
    model: Model, density: str, way_out: str = "give samples of the size that trained the model"
) -> BadInput:
    """The error for samples of a model of any size, where their density is needed."""
    shape = model.bundle.find("log_prob", density).inputs["latent"].shape[1:]
    codes = "×".join(map(str, shape))
    return BadInput(
        f"the density {density!r} is of codes of {codes}, which samples of another size do not have", way_out
    )


def _fisher(scores: Scores, quantiles: dict[str, tuple[float, ...]], count: int) -> Array:
    """Fisher's T [N]: a large error and a low density are unusual."""
    error = _log_tail(scores["error"], np.array(quantiles["error"]), count)
    if "log_density" not in quantiles:
        return -2 * error
    density = _log_tail(-scores["log_density"], -np.array(quantiles["log_density"])[::-1], count)
    return -2 * (error + density)


def _log_tail(values: Array, quantiles: Array, count: int) -> Array:
    """The logarithm [N] of the probability that a normal image has such a value or a larger one.

    Among the `count` normal images it follows their ranks, p = (1 + those above) / (1 + count). Beyond the largest, where
    ranks would be all alike, it falls exponentially at the rate of the upper tail (Pickands, 1975, with shape 0).
    """
    values = np.where(np.isnan(values), np.inf, values).astype(float)
    levels = np.linspace(0, 1, len(quantiles))
    above = count * (1 - np.interp(values, quantiles, levels))
    top = quantiles[-1]
    tail = quantiles[levels >= TAIL]
    excess = max(float((tail - tail[0]).mean()), 1e-6 * abs(top), 1e-12)
    return np.log((1 + above) / (1 + count)) - np.maximum(values - top, 0) / excess


def read(path: str | Path, model: Model, density: str | None = None) -> Calibration:
    """A calibration that `Calibration.save` wrote, for this model. Raises BadInput for a file that is missing, damaged or
    from a newer aepipe, and for a calibration of another bundle, precision or density."""
    found = read_record(Calibration, Path(path), f"the calibration {path}", FORMAT, AGAIN)
    if found.pair != model.bundle.pair:
        raise BadInput(f"the calibration {path} belongs to another bundle than {model.bundle.name}", AGAIN)
    if density is not None and density != found.density:
        message = f"the calibration {path} is for the density {found.density!r}, not {density!r}"
        raise BadInput(message, f"leave out --density, or calibrate again with --density {density}")
    if found.precision != model.precision:
        message = f"the calibration {path} was made in {found.precision}, and the model computes in {model.precision}"
        raise BadInput(message, f"score with --precision {found.precision}, or calibrate again")
    model.bundle.scoring(found.density)
    return found


def check_rate(false_alarm: float) -> None:
    if not 0 < false_alarm < 1:
        raise BadInput(
            f"a false-alarm rate of {false_alarm:g} cannot be kept", "give a share between 0 and 1, such as 0.05"
        )
