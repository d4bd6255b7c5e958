"""Where a bundle goes, what it is called and what it takes the place of: checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aepipe.bundle.reader import Bundle, bundle_folder, is_bundle
from aepipe.errors import BadInput, closest

from .formats import Formats


def check_place(out: Path, formats: Formats) -> None:
    """Raise BadInput unless `out` is free, or a bundle that may be replaced by one of these formats.

    A bundle that holds further precisions, or graphs for bytes and whole tasks, is replaced only with `overwrite`: these take
    images and time of their own to make again.
    """
    if not bundle_folder(out).check() or formats.overwrite:
        return
    lost = [
        graph.file
        for graph in Bundle(out).graphs
        if graph.precision not in formats.precision or (graph.of_tasks and not formats.uint8)
    ]
    if lost:
        message = f"{out} holds graphs that the new bundle would not have: {', '.join(lost)}"
        raise BadInput(message, f"ask for them too ({_asking_for(out)}), or let them go with --overwrite")


def _asking_for(out: Path) -> str:
    """The options that gave the bundle at `out` what it holds."""
    graphs = Bundle(out).graphs
    precisions = dict.fromkeys(("fp32", *(graph.precision for graph in graphs)))
    options = [f"--precision {','.join(precisions)}"] if len(precisions) > 1 else []
    return " ".join([*options, *(["--io uint8"] if any(graph.of_tasks for graph in graphs) else [])])


def graphs_there(out: Path) -> set[str]:
    """The files of the graphs of the bundle at `out`, none where there is none."""
    return {graph.file for graph in Bundle(out).graphs} if is_bundle(out) else set()


def chosen_densities(
    known: Sequence[str], wanted: str | Sequence[str] | None, without: str | Sequence[str]
) -> list[str]:
    """The labels of a run's densities that a bundle gets, in the order of `wanted`; raises BadInput for unknown ones."""
    wanted = known if wanted is None else [wanted] if isinstance(wanted, str) else wanted
    without = [without] if isinstance(without, str) else list(without)
    for label in [*wanted, *without]:
        if label not in known:
            raise BadInput(f"the run has no density {label!r}", closest(str(label), list(known)))
    return [label for label in dict.fromkeys(wanted) if label not in without]
