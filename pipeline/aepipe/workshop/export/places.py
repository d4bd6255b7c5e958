"""Where a bundle goes, what it is called and what it takes the place of: checked before any work."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from aepipe.arguments import words
from aepipe.bundle.reader import Bundle, bundle_folder, is_bundle
from aepipe.errors import BadInput, as_typed, closest
from aepipe.files.records import Text, as_record
from aepipe.plugins.specs import split_slice
from aepipe.workshop.training.names import printable, readable

from .formats import Formats


def bundle_name(out: Path) -> str:
    r"""What a bundle at `out` is called: as its folder; bytes of a path that are not UTF-8 are written as \xNN.

    Raises BadInput for a name with characters that a terminal would act on, or show in another order than they stand.
    """
    try:
        name = readable(out.resolve().name)
        return as_record(Text, name)
    except (
        ValueError,
        OSError,
        RuntimeError,
    ):  # of pathlib: half of a surrogate pair, a name too long, a circle of links
        name = out.name
        message = f"a bundle cannot be called {printable(name)!r}, because of characters that cannot be shown"
        raise BadInput(message, "choose another folder with -o") from None


def data_name(spec: str, dataset: bool) -> str:
    """What a bundle says of its training data: of a path the last component alone, of a data set's options likewise."""
    if dataset:
        name, colon, options = spec.partition(":")
        return printable(name + colon + ",".join(_last_of_value(each) for each in options.split(",")))
    path, part = split_slice(spec)
    return printable(_last(path) + spec[len(path) :] if part else _last(spec))


def _last_of_value(option: str) -> str:
    key, equals, value = option.partition("=")
    return f"{key}{equals}{_last(value)}" if re.search(r"[/\\]", value) else option


def _last(path: str) -> str:
    names = [each for each in re.split(r"[/\\]", path) if each.strip(".~")]
    return names[-1] if names else "images"


def check_place(out: Path, formats: Formats) -> None:
    """Raise BadInput unless `out` is free, or a bundle that may be replaced by one of these formats, and can be named.

    A bundle that holds further precisions, or graphs for bytes and whole tasks, is replaced only with `overwrite`: these take
    images and time of their own to make again.
    """
    bundle_name(out)
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
    known: Sequence[str], wanted: str | Sequence[str] | None, without: str | Sequence[str] | None
) -> list[str]:
    """The labels of a run's densities that a bundle gets, in the order of `wanted`; raises BadInput for unknown ones."""
    wanted = list(known) if wanted is None else words("densities", wanted)
    without = words("without", () if without is None else without)
    for label in [*wanted, *without]:
        if label not in known:
            raise BadInput(f"the run has no density {label!r}", closest(label, list(known)))
    if idle := [label for label in without if label not in wanted]:
        message = f"{as_typed('--without')} {idle[0]} belongs to a density that is exported, and this one is not"
        raise BadInput(message, "leave out --without")
    return [label for label in dict.fromkeys(wanted) if label not in without]
