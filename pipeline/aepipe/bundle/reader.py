"""The bundle: the exported folder, its manifest and the check that it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from aepipe.errors import BadInput, closest

from .manifest import FORMAT, IOS, MANIFEST, NEEDED, PRECISE, PRECISIONS, Graph, sha256
from .onnx_file import OnnxFile, read_onnx

AGAIN = "export it again with 'aepipe export RUN'"


class Bundle:
    """An exported folder, read and checked. Raises BadInput when it is not a bundle, damaged or from a newer aepipe."""

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        self.manifest = _read_manifest(self.directory)
        try:
            self.name = _entry(self.manifest, "name", str)
            self.latent = _count(_entry(self.manifest, "latent", int), "latent")
            sizes = _entry(_entry(self.manifest, "image", dict), "shape", list)
            if len(sizes) != 3:
                raise ValueError(f"an image of shape {sizes} is not [C, H, W]")
            c, h, w = (_count(size, "image shape") for size in sizes)
            self.shape = (c, h, w)
            self.pair = _entry(self.manifest, "pair", str)
            self.densities = [_text(each, "densities") for each in _entry(self.manifest, "densities", list, [])]
            self.trained = _entry(self.manifest, "trained", dict, {})
            self.metrics = _entry(self.manifest, "metrics", dict, {})
            self.graphs = [self._graph(entry) for entry in _entry(self.manifest, "graphs", list)]
        except ValueError as error:
            raise BadInput(f"the manifest of {directory} is broken: {error}", AGAIN) from None

    def _graph(self, entry: Any) -> Graph:
        if not isinstance(entry, dict):
            raise ValueError(f"a graph is described by {entry!r:.40}, not by an object")
        role, file = _entry(entry, "role", str), _entry(entry, "file", str)
        path = self.directory / file
        if Path(file).is_absolute() or not path.resolve().is_relative_to(self.directory.resolve()):
            raise ValueError(f"the file {file!r} leads out of the bundle")
        inputs, outputs = _entry(entry, "inputs", dict), _entry(entry, "outputs", dict)
        for name in NEEDED.get(role, ()):
            if name not in inputs:
                raise ValueError(f"the {role} has no input {name!r}")
        for tensor in (*inputs.values(), *outputs.values()):
            if not isinstance(tensor, dict) or not _entry(tensor, "shape", list):
                raise ValueError(f"the {role} has a tensor without a shape")
        if role == "sample":
            _count(inputs["noise"]["shape"][-1], "noise shape")
        density, precision = _entry(entry, "density", str, ""), _entry(entry, "precision", str, "fp32")
        io = _entry(entry, "io", str, IOS[0])
        return Graph(role, path, _entry(entry, "sha256", str), inputs, outputs, density or None, precision, io)

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
            raise BadInput(f"the bundle {self.name} has no density {name!r}", closest(name, self.densities))
        return name

    def noise_features(self, density: str) -> int:
        """How many standard normal numbers a density's sample graph takes."""
        return int(self.graph("sample", density).inputs["noise"]["shape"][-1])

    def graph(self, role: str, density: str | None = None, precision: str = "fp32", io: str = "float") -> Graph:
        """The graph of a role, its file checked against the manifest; raises BadInput.

        Encoder and decoder come in the precisions that were exported, and in fp32 for uint8 images; all others are fp32 and
        float.
        """
        precision = precision if role in PRECISE else "fp32"
        for graph in self.graphs:
            if (graph.role, graph.density, graph.precision, graph.io) == (role, density, precision, io):
                self.check(graph)
                return graph
        what = (
            f"{role} graph" + (f" of density {density!r}" if density else "") + ("" if io == "float" else f" for {io}")
        )
        raise BadInput(f"the bundle {self.name} has no {what}", f"it has: {', '.join(self.roles())}")

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
        known = (
            "" if precision not in PRECISIONS else f"export it with 'aepipe export RUN --precision fp32,{precision}'"
        )
        raise BadInput(message, known or closest(precision, list(PRECISIONS)))

    def has(self, role: str, density: str | None = None) -> bool:
        return any((graph.role, graph.density, graph.io) == (role, density, "float") for graph in self.graphs)

    def roles(self) -> list[str]:
        names = (graph.role if graph.density is None else f"{graph.density}/{graph.role}" for graph in self.graphs)
        return list(dict.fromkeys(names))

    def check(self, graph: Graph) -> None:
        """Raise BadInput unless the file is there, unaltered, of the same training and of the manifest's shapes."""
        try:
            whole = sha256(graph.path) == graph.sha256
        except FileNotFoundError:
            raise BadInput(f"{graph.path} is missing from the bundle", AGAIN) from None
        except OSError as error:
            raise BadInput(f"{graph.path} cannot be read: {error.strerror}", "check its permissions") from None
        try:
            found = read_onnx(graph.path)
        except BadInput:
            if whole:
                raise
            found = OnnxFile({}, {})
        if found.notes.get("pair", self.pair) != self.pair:
            raise BadInput(f"{graph.path} belongs to another training than the rest of the bundle", AGAIN)
        if not whole:
            raise BadInput(f"{graph.path} was altered or cut off: its SHA-256 is not the manifest's", AGAIN)
        self._agree(graph, found)

    def _agree(self, graph: Graph, found: OnnxFile) -> None:
        """Raise BadInput where a graph and the manifest contradict each other."""
        said = {"role": graph.role, "latent": str(self.latent), "image": json.dumps(list(self.shape))}
        pairs = [(key, found.notes[key], value) for key, value in said.items() if key in found.notes]
        for name, sizes in found.inputs.items():
            said_sizes = graph.inputs[name]["shape"][1:] if name in graph.inputs else None
            pairs.append((f"input {name!r}", str(sizes[1:]), str(said_sizes)))
        for what, got, expected in pairs:
            if got != expected:
                raise BadInput(f"{graph.path} has {what} {got}, but the manifest says {expected}", AGAIN)

    def codes(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Up to 5,000 training codes [n, latent], and their labels if they had any."""
        try:
            with np.load(self.directory / "codes.npz", allow_pickle=False) as arrays:
                return arrays["codes"], arrays.get("labels")
        except Exception as error:  # the reader raises whatever a damaged file leads it to
            raise BadInput(f"{self.directory / 'codes.npz'} cannot be read: {error}", AGAIN) from None


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    if not directory.exists():
        raise BadInput(f"there is no bundle {str(directory)!r}", "make one with 'aepipe export RUN'")
    if not directory.is_dir():
        raise BadInput(f"{directory} is a file, and a bundle is a folder", "make one with 'aepipe export RUN'")
    if not path.is_file():
        run = (directory / "run.json").exists()
        what = "a run, not a bundle" if run else f"not a bundle: it has no {MANIFEST}"
        raise BadInput(f"{directory} is {what}", f"export it first: aepipe export {directory}" if run else AGAIN)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError("it is not an object")
        newer = _entry(manifest, "format", int) > FORMAT
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is broken: {error}", AGAIN) from None
    if newer:
        found = manifest["format"]
        raise BadInput(f"{directory} has format {found}, this aepipe reads up to {FORMAT}", "upgrade aepipe")
    return manifest


_MISSING = object()
_KINDS = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


def _entry(record: dict[str, Any], key: str, kind: type, default: Any = _MISSING) -> Any:
    """An entry of the manifest, of the right type; raises ValueError that names it."""
    value = record.get(key, default)
    value = default if value is None else value
    if value is _MISSING:
        raise ValueError(f"it has no {key!r}")
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{key!r} is {value!r:.40}, and {_KINDS[kind]} is needed")
    return _text(value, key) if kind is str else value


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{key!r} holds {value!r:.40}, and printable text is needed")
    return value


def _count(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{key!r} is {value!r:.40}, and a whole number of 1 or more is needed")
    return value
