"""The bundle: the exported folder, read and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aepipe._types import Array, Shape
from aepipe.errors import BadInput, closest
from aepipe.files.numpy_files import read_arrays
from aepipe.files.ours import OwnFolder
from aepipe.files.records import read_record

from .manifest import CARD, CODES, FORMAT, MANIFEST, PRECISE, PRECISIONS, PREVIEW, Graph, Manifest, Role, sha256
from .onnx_file import OnnxFile, read_onnx

AGAIN = "export it again with 'aepipe export RUN'"


class Bundle:
    """An exported folder, read and checked. Raises BadInput when it is not a bundle, damaged or from a newer aepipe."""

    def __init__(self, directory: str | Path):
        _check_folder(Path(directory))
        what = f"the manifest of {directory}"
        self.directory = Path(directory).absolute()  # it stays the same wherever the process goes
        self.manifest = read_record(Manifest, self.directory / MANIFEST, what, FORMAT, AGAIN)
        home = self.directory.resolve()
        for graph in self.graphs:
            if not self.path(graph).resolve().is_relative_to(home):  # by a link
                raise BadInput(f"{what} is broken: the file {graph.file!r} leads out of the bundle", AGAIN)

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def pair(self) -> str:
        """What ties the graphs of one training together."""
        return self.manifest.pair

    @property
    def shape(self) -> Shape:
        """C, H, W of an image."""
        return self.manifest.image.shape

    @property
    def latent(self) -> int:
        """Numbers in a code."""
        return self.manifest.latent

    @property
    def densities(self) -> tuple[str, ...]:
        return self.manifest.densities

    @property
    def graphs(self) -> tuple[Graph, ...]:
        return self.manifest.graphs

    @property
    def trained(self) -> dict[str, Any]:
        return self.manifest.trained

    @property
    def task(self) -> str:
        """What it was trained for: reconstruct or denoise."""
        return str(self.trained.get("task", "reconstruct"))

    def density_name(self, name: str | None) -> str:
        """The density of that name, or the first listed; raises BadInput with the closest suggestion."""
        if name is None and self.densities:
            return self.densities[0]
        if name is None:
            raise BadInput(f"the bundle {self.name} has no density", "fit one with 'aepipe fit-density RUN SPEC'")
        if name not in self.densities:
            raise BadInput(f"the bundle {self.name} has no density {name!r}", closest(name, list(self.densities)))
        return name

    def noise_features(self, density: str) -> int:
        """How many standard normal numbers a density's sample graph takes."""
        return int(self.graph("sample", density).inputs["noise"].shape[-1])

    def graph(self, role: Role, density: str | None = None, precision: str = "fp32", io: str = "float") -> Graph:
        """The graph of a role, its file checked against the manifest; raises BadInput.

        Encoder and decoder come in the precisions that were exported, and in fp32 for uint8 images; all others are fp32 and
        float.
        """
        precision = precision if role in PRECISE else "fp32"
        for graph in self.graphs:
            if (graph.role, graph.density, graph.precision, graph.io) == (role, density, precision, io):
                self.check(graph)
                return graph
        of = f" of density {density!r}" if density else ""
        what = f"{role} graph{of}{'' if io == 'float' else f' for {io}'}"
        raise BadInput(f"the bundle {self.name} has no {what}", f"it has: {', '.join(self.roles())}")

    def path(self, graph: Graph) -> Path:
        """Where the file of a graph lies."""
        return self.directory / graph.file

    def file(self, role: Role, density: str | None = None, precision: str = "fp32") -> Path:
        """The file of a role's graph for float images, checked as `graph` checks it."""
        return self.path(self.graph(role, density, precision))

    @property
    def precisions(self) -> list[str]:
        """The precisions in which both encoder and decoder are there."""
        found = {(graph.role, graph.precision): None for graph in self.graphs if graph.io == "float"}
        return [each for role, each in found if role == PRECISE[0] and (PRECISE[1], each) in found]

    def require_precision(self, precision: str) -> str:
        """The precision itself; raises BadInput when the bundle was not exported in it."""
        if precision == "fp32" or precision in self.precisions:
            return precision
        message = f"the bundle {self.name} has no precision {precision!r}, it has: {', '.join(self.precisions)}"
        if precision in PRECISIONS:
            raise BadInput(message, f"export it with 'aepipe export RUN --precision fp32,{precision}'")
        raise BadInput(message, closest(precision, list(PRECISIONS)))

    def has(self, role: Role, density: str | None = None) -> bool:
        return any((graph.role, graph.density, graph.io) == (role, density, "float") for graph in self.graphs)

    def roles(self) -> list[str]:
        """What its graphs compute, each once: encoder, decoder, pca/sample."""
        names = (graph.role if graph.density is None else f"{graph.density}/{graph.role}" for graph in self.graphs)
        return list(dict.fromkeys(names))

    def check(self, graph: Graph) -> None:
        """Raise BadInput unless the file is there, unaltered, of the same training and of the manifest's shapes."""
        path = self.path(graph)
        try:
            whole = sha256(path) == graph.sha256
        except FileNotFoundError:
            raise BadInput(f"{path} is missing from the bundle", AGAIN) from None
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
        try:
            found = read_onnx(path)
        except BadInput:
            if whole:
                raise
            found = OnnxFile({}, {})
        if found.notes.get("pair", self.pair) != self.pair:
            raise BadInput(f"{path} belongs to another training than the rest of the bundle", AGAIN)
        if not whole:
            raise BadInput(f"{path} was altered or cut off: its SHA-256 is not the manifest's", AGAIN)
        self._agree(graph, found)

    def _agree(self, graph: Graph, found: OnnxFile) -> None:
        """Raise BadInput where a graph and the manifest contradict each other."""
        said = {"role": graph.role, "latent": str(self.latent), "image": json.dumps(list(self.shape))}
        pairs = [(key, found.notes[key], value) for key, value in said.items() if key in found.notes]
        for name, sizes in found.inputs.items():
            said_sizes = list(graph.inputs[name].shape[1:]) if name in graph.inputs else None
            pairs.append((f"input {name!r}", str(sizes[1:]), str(said_sizes)))
        for what, got, expected in pairs:
            if got != expected:
                message = f"{self.path(graph)} has {what} {got}, but the manifest says {expected}"
                raise BadInput(message, AGAIN)

    @property
    def files(self) -> list[str]:
        """All files of the bundle, relative to its folder."""
        return [MANIFEST, CODES, CARD, PREVIEW, *(graph.file for graph in self.graphs)]

    def codes(self) -> tuple[Array, Array | None]:
        """Up to 5,000 training codes [n, latent], and their labels if they had any."""
        arrays = read_arrays(self.directory / CODES, AGAIN)
        if "codes" not in arrays:
            raise BadInput(f"{self.directory / CODES} holds no codes", AGAIN)
        return arrays["codes"], arrays.get("labels")


def is_bundle(directory: Path) -> bool:
    """Whether a folder has a manifest."""
    return (directory / MANIFEST).is_file()


def bundle_folder(directory: Path) -> OwnFolder:
    """A folder for a bundle, whose manifest says what in it is ours."""
    return OwnFolder(directory, "bundle", lambda folder: Bundle(folder).files)


def _check_folder(directory: Path) -> None:
    """Say what a folder is that is no bundle."""
    if not directory.exists():
        raise BadInput(f"there is no bundle {str(directory)!r}", "make one with 'aepipe export RUN'")
    if not directory.is_dir():
        raise BadInput(f"{directory} is a file, and a bundle is a folder", "make one with 'aepipe export RUN'")
    if is_bundle(directory):
        return
    if (directory / "run.json").exists():
        raise BadInput(f"{directory} is a run, not a bundle", f"export it first: aepipe export {directory}")
    raise BadInput(f"{directory} is not a bundle: it has no {MANIFEST}", AGAIN)
