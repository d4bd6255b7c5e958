"""Paths between two codes; an interpolation decodes the codes on a path."""

from __future__ import annotations

import numpy as np

from aepipe._types import Array
from aepipe.arguments import is_one_of
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput, closest

PATHS = {
    "linear": "the straight line between two codes",
    "slerp": "the arc between two codes about the mean code",
    "density": "the arc between two codes in the noise of the density",
}


def path_density(bundle: Bundle, path: str, density: str | None) -> str | None:
    """The density whose noise a path runs through: the named one, else the bundle's last one that has an inverse.

    None if the path needs no density. Raises BadInput for an unknown path, for a density without an inverse, and for a
    density that the path does not take.
    """
    if not is_one_of(path, PATHS):
        raise BadInput(f"there is no path {path!r} between codes", closest(path, list(PATHS)))
    if path != "density":
        if density is not None:
            raise BadInput(f"the {path} path takes no density", "leave it out, or take the path through it: density")
        return None
    able = paths_of(bundle)
    if density is None and able:
        return able[-1]
    if density is not None and bundle.density_name(density) in able:
        return density
    what = f"the density {density!r} has no inverse" if density else f"no density of {bundle.name} has an inverse"
    if density and bundle.has("noise", density):
        what = f"the density {density!r} has an inverse for each label"
    raise BadInput(f"{what}, which a path through its noise needs", f"with an inverse: {', '.join(able) or 'none'}")


def paths_of(bundle: Bundle) -> list[str]:
    """The densities with an inverse for all codes alike, without a label."""
    inverse = [name for name in bundle.densities if bundle.has("noise", name)]
    return [name for name in inverse if not any(bundle.takes_label(role, name) for role in ("sample", "noise"))]


def line(start: Array, end: Array, steps: int) -> Array:
    """Straight lines [N, steps, d] between the rows of `start` and `end` [N, d]."""
    alpha = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return (1 - alpha) * start[:, None] + alpha * end[:, None]


def arc(start: Array, end: Array, steps: int, about: Array | float = 0.0) -> Array:
    """Spherical interpolation [N, steps, d] about a centre (Shoemake, 1985) between `start` and `end`, both [N, d].

    Seen from the centre, the direction turns evenly and the distance changes evenly. The arc is not unique if both ends lie in
    the same or in opposite directions, or one at the centre: a straight line joins such ends.
    """
    a, b = (np.asarray(ends, np.float64) - about for ends in (start, end))
    lengths = [np.linalg.norm(ends, axis=1)[:, None, None] for ends in (a, b)]
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = a[:, None] / lengths[0], b[:, None] / lengths[1]
        angle = np.arccos(np.clip((u * v).sum(2, keepdims=True), -1, 1))
        alpha = np.linspace(0, 1, steps)[:, None]
        turned = (np.sin((1 - alpha) * angle) * u + np.sin(alpha * angle) * v) / np.sin(angle)
        arcs = about + ((1 - alpha) * lengths[0] + alpha * lengths[1]) * turned
        single = np.sin(angle) > 1e-6  # an end at the centre gives NaN, which is not greater
    return np.where(single, arcs, line(start, end, steps)).astype(np.float32)
