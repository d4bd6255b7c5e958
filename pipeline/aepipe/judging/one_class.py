"""How well a bundle that was trained on one class tells this class from the others: the usual test of anomaly detectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.errors import BadInput
from aepipe.images.batches import batches
from aepipe.images.source import Source
from aepipe.progress import progress
from aepipe.runtime.model import Model

from .anomaly import calibration
from .distances import auroc


def one_class(
    model: Model, test: Source, train: Source | None, normal: int, density: str | None = None
) -> dict[str, Any]:
    """How well test images of the class `normal` are told from the others: areas under the ROC curve (0.5 chance, 1 perfect).

    There is one area for each score: `error`, the reconstruction error; `log_density`, the log-density of the code; and
    `combined`, both together as anomaly.py combines them, calibrated on the training images of the class (None without such
    images). Both of these are None where no density gives log-densities. Raises BadInput if the data have no labels, or no image
    of the class.
    """
    name = model.bundle.scoring(density)
    if test.labels is None:
        raise BadInput(f"{test.name} has no labels", "one class can be told from others only where labels name them")
    unusual = test.labels != normal
    if unusual.all():
        known = ", ".join(map(str, np.unique(test.labels)))
        raise BadInput(f"no image of {test.name} has the label {normal}", f"its labels: {known}")
    scores = _scores(model, test, name)
    found: dict[str, float | None] = {"error": auroc(scores["error"], unusual), "log_density": None, "combined": None}
    if name is not None:
        found["log_density"] = auroc(-scores["log_density"], unusual)
    if name is not None and train is not None and train.labels is not None and (train.labels == normal).any():
        usual = train.pick(np.flatnonzero(train.labels == normal))
        learned = calibration(model, name, _scores(model, usual, name), 0.05, train.name)
        found["combined"] = auroc(learned.judge(scores)["anomaly"], unusual)
    return {"normal": normal, "density": name, "auroc": found}


def _scores(model: Model, source: Source, density: str | None) -> dict[str, Array]:
    """`error` and `log_density` of every image, in order."""
    made = []
    with progress("scoring", len(source)) as advance:
        for batch in batches(source, model.batch_size):
            made.append(model.score_batch(batch.images, density))
            advance(len(batch.indices))
    return {key: np.concatenate([part[key] for part in made]) for key in made[0]}
