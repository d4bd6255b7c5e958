"""The bundle: the exported folder, read and checked."""

from __future__ import annotations

import hashlib
import io
import json
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.arguments import is_one_of
from aepipe.errors import BadInput, closest
from aepipe.files.numpy_files import reading
from aepipe.files.ours import OwnFolder
from aepipe.files.out import as_path
from aepipe.files.records import read_record
from aepipe.space import Sides, Size, Space, in_short

from .manifest import (
    CARD,
    CODES,
    ENDS,
    FORMAT,
    IOS,
    LABEL,
    MANIFEST,
    PRECISE,
    PRECISIONS,
    PREVIEW,
    Graph,
    Manifest,
    Role,
    Tensor,
    code_tensor,
    ends_of,
    inside,
    sample_tensor,
    sha256,
    upgraded,
)
from .onnx_file import LARGEST, OnnxFile, OnnxTensor, parse_onnx

AGAIN = "export it again with 'aepipe export RUN'"


@dataclass(frozen=True)
class Checked:
    """A graph's file as it was checked: its bytes, and those of its external data by path relative to it."""

    path: Path
    content: bytes
    beside: dict[str, bytes]


class Bundle:
    """An exported folder, read and checked. Raises BadInput when it is not a bundle, damaged or from a newer aepipe.

    The manifest is read once. What is read later must be what it says, or is refused.
    """

    def __init__(self, directory: str | Path):
        given = as_path(directory)
        _check_folder(given)
        what = f"the manifest of {given}"
        self.directory = given.absolute()  # it stays the same wherever the process goes
        self._digest = self._manifest_digest()
        self.manifest = read_record(Manifest, self.directory / MANIFEST, what, FORMAT, AGAIN, upgraded)
        for file in self.files:
            self._require_inside(file)

    def __repr__(self) -> str:
        return f"<Bundle {self.name!r}: {in_short(self.space, self.latent, self.densities)}>"

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def fingerprint(self) -> str | None:
        """The SHA-256 of the manifest, which holds those of all files."""
        return self._digest

    @property
    def pair(self) -> str:
        """What ties the graphs of one training together."""
        return self.manifest.pair

    @property
    def space(self) -> Space:
        """What a sample is."""
        return self.manifest.space

    @property
    def shape(self) -> Sides:
        """C, *sides of a sample."""
        return self.manifest.data.shape

    @property
    def latent(self) -> Size:
        """Numbers in a code, with the shape in which they stand."""
        return self.manifest.code

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

    def density_name(self, name: str | None, *, labelled: bool = False) -> str:
        """The density of that name, or the first listed, of those that take a label if it is to be `labelled`; raises BadInput
        with the closest suggestion."""
        if name is None and self.densities:
            able = [each for each in self.densities if not labelled or self.takes_label("sample", each)]
            return [*able, *self.densities][0]
        if name is None:
            raise BadInput(f"the bundle {self.name} has no density", "fit one with 'aepipe fit-density RUN SPEC'")
        if not is_one_of(name, self.densities):
            raise BadInput(f"the bundle {self.name} has no density {name!r}", closest(name, list(self.densities)))
        return name

    def scoring(self, name: str | None) -> str | None:
        """The density of that name, or the first that gives log-densities, None where none does; raises BadInput for one that is
        named and does not."""
        able = [each for each in self.densities if self.has("log_prob", each)]
        if name is None:
            return able[0] if able else None
        if self.density_name(name) not in able:
            known = f"with log-densities: {', '.join(able)}"
            hint = known if able else "leave out the density: there is the error alone"
            raise BadInput(f"the density {name!r} of {self.name} gives no log-densities", hint)
        return name

    def takes_label(self, role: Role, density: str) -> bool:
        """Whether the graph of this role of a density is told a class."""
        return self.has(role, density) and self.find(role, density).takes_label

    @property
    def class_shares(self) -> Array:
        """How often each class is among the training samples, float64 [classes], 1 in all; alike where the bundle does not say."""
        classes = self.manifest.classes or 0
        given = self.trained.get("labels")
        counts = given if isinstance(given, list) and len(given) == classes else [None]
        if not all(isinstance(n, int) and 0 <= n < 2**53 for n in counts) or not any(counts):
            return np.full(classes, 1 / max(classes, 1))
        return np.array(counts, np.float64) / sum(counts)

    def noise_features(self, density: str) -> int:
        """How many standard normal numbers a density's sample graph takes."""
        return int(self.find("sample", density).inputs["noise"].shape[-1])

    def graph(self, role: Role, density: str | None = None, precision: str = "fp32", io: str = "float") -> Graph:
        """The graph of a role, its file checked against the manifest; raises BadInput.

        Encoder and decoder come in the precisions that were exported, and in fp32 for uint8 images; all others are fp32 and
        float.
        """
        found = self.find(role, density, precision, io)
        self.check(found)
        return found

    def find(self, role: Role, density: str | None = None, precision: str = "fp32", io: str = "float") -> Graph:
        """The same without a look at its file."""
        precision = precision if role in PRECISE else "fp32"
        for graph in self.graphs:
            if (graph.role, graph.density, graph.precision, graph.io) == (role, density, precision, io):
                return graph
        of = f" of density {density!r}" if density else ""
        what = f"{role} graph{of}{'' if io == 'float' else f' for {io}'}"
        raise BadInput(f"the bundle {self.name} has no {what}", f"it has: {', '.join(self.roles())}")

    def tensor_of(self, role: Role, name: str) -> Tensor:
        """What the manifest says of an input or output of encoder or decoder."""
        graph = self.find(role)
        return {**graph.inputs, **graph.outputs}[name]

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
        if is_one_of(precision, ["fp32", *self.precisions]):
            return precision
        message = f"the bundle {self.name} has no precision {precision!r}, it has: {', '.join(self.precisions)}"
        if is_one_of(precision, PRECISIONS):
            raise BadInput(message, f"export it with 'aepipe export RUN --precision fp32,{precision}'")
        raise BadInput(message, closest(precision, list(PRECISIONS)))

    def has(self, role: Role, density: str | None = None) -> bool:
        return any((graph.role, graph.density, graph.io) == (role, density, "float") for graph in self.graphs)

    def roles(self) -> list[str]:
        """What its graphs compute, each once: encoder, decoder, pca/sample."""
        names = (graph.role if graph.density is None else f"{graph.density}/{graph.role}" for graph in self.graphs)
        return list(dict.fromkeys(names))

    def check(self, graph: Graph) -> None:
        """Raise BadInput unless the file is there, unaltered, of the same training, and has the names, types and shapes that
        the manifest says."""
        self.content(graph)

    def content(self, graph: Graph) -> Checked:
        """What is in the file of a graph, checked as `check` says: to be loaded as it is, and not read again."""
        path, content = self.path(graph), self._read(graph.file)
        whole = hashlib.sha256(content).hexdigest() == graph.sha256
        if not whole:
            self._require_same_manifest()
        try:
            found = parse_onnx(content, path)
        except BadInput:
            if whole:
                raise
            found = OnnxFile({}, {}, {})
        if found.notes.get("pair", self.pair) != self.pair:
            raise BadInput(f"{path} belongs to another training than the rest of the bundle", AGAIN)
        if not whole:
            raise _altered(path)
        self._agree(graph, found)
        return Checked(path, content, {name: self._external(graph, name) for name in found.external})

    def _external(self, graph: Graph, name: str) -> bytes:
        """External data of a graph, which lies beside it under this name."""
        try:
            inside(name)
        except ValueError as error:
            raise BadInput(f"{self.path(graph)} keeps weights elsewhere: {error}", AGAIN) from None
        file = (PurePosixPath(graph.file).parent / name).as_posix()
        if file not in (self.manifest.files or {}) or file == graph.file:
            raise BadInput(f"{self.path(graph)} keeps weights in {file!r}, of which the manifest has no SHA-256", AGAIN)
        return self.beside(file)

    def beside(self, file: str) -> bytes:
        """What is in a file beside the graphs. Raises BadInput where it is missing, or is not what the manifest says of it."""
        content = self._read(file)
        known = (self.manifest.files or {}).get(file)
        whole = hashlib.sha256(content).hexdigest() == known
        if not whole:
            self._require_same_manifest()
        if not whole and known is not None:  # bundles of the first versions do not say it
            raise _altered(self.directory / file)
        return content

    def _read(self, file: str) -> bytes:
        """The bytes of a file of the bundle, whatever they are."""
        path = self.directory / file
        try:
            self._require_inside(file)
            found = path.stat()
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                raise BadInput(f"{path} is a pipe or a device, not a file", AGAIN)
            if found.st_size > LARGEST:
                raise BadInput(f"{path} is larger than 2 GB", AGAIN)
            return path.read_bytes()
        except FileNotFoundError:
            self._require_same_manifest()
            raise BadInput(f"{path} is missing from the bundle", AGAIN) from None
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}", "check its permissions") from None

    def _require_inside(self, file: str) -> None:
        """Raise BadInput for a link that leads out of the bundle, or to itself."""
        try:
            if (self.directory / file).resolve().is_relative_to(self.directory.resolve()):
                return
        except (OSError, RuntimeError):  # a circle of links
            pass
        raise BadInput(f"the manifest of {self.directory} is broken: the file {file!r} leads out of the bundle", AGAIN)

    def _require_same_manifest(self) -> None:
        """Raise BadInput if the manifest is no longer the one that was read; then no other file fits it either."""
        if self._manifest_digest() != self._digest:
            raise BadInput(f"{self.directory} was exported anew while it was open", "load it again")

    def _manifest_digest(self) -> str | None:
        try:
            return sha256(self.directory / MANIFEST)
        except OSError:  # it cannot be read, or is gone
            return None

    def _agree(self, graph: Graph, found: OnnxFile) -> None:
        """Raise BadInput where a graph, the manifest's entry of it and the rest of the manifest contradict each other."""
        said = {"role": graph.role, **shapes_noted(self.space, self.latent)}
        pairs = [(key, found.notes[key], value) for key, value in said.items() if key in found.notes]
        for what, actual, stated in (("input", found.inputs, graph.inputs), ("output", found.outputs, graph.outputs)):
            for name in dict.fromkeys([*stated, *actual]):
                got, expected = _shown(actual.get(name)), _shown(_stated(stated.get(name)))
                if what == "output" and name in actual and name in stated:
                    got = _shown(
                        _completed(actual[name], stated[name])
                    )  # a graph need not know all sizes of what it makes
                pairs.append((f"{what} {name!r}", got, expected))
        for what, got, expected in pairs:
            if got != expected:
                message = f"{self.path(graph)} has {what} {got}, but the manifest says {expected}"
                raise BadInput(message, AGAIN)
        for name, tensor, wanted in self._wanted(graph):
            got, expected = _shown(_stated(tensor)), _shown(wanted)
            if got != expected:
                message = f"the manifest says {got} of {name!r} of {self.path(graph)}, but its images and codes need {expected}"
                raise BadInput(message, AGAIN)

    def _wanted(self, graph: Graph) -> Iterator[tuple[str, Tensor | None, OnnxTensor]]:
        """Every tensor that the graph's role needs: its name, what the manifest says of it, and what it must be by the sizes of
        images and codes."""
        if graph.role not in ENDS or graph.io not in IOS:
            return
        sample = _stated(sample_tensor(self.space)) or OnnxTensor("float32", None)
        if graph.io == "uint8":
            batch, channels, *sides = sample.sizes or []
            sample = OnnxTensor("uint8", [batch, *sides, channels])
        kind = self.space.kind
        known: dict[str, OnnxTensor | None] = {
            **dict.fromkeys((kind, f"{kind}_a", f"{kind}_b", "reconstruction"), sample),
            "latent": _stated(code_tensor(self.latent)),
            **dict.fromkeys(("log_prob", "alpha"), OnnxTensor("float32", [None])),
        }
        if graph.takes_label:
            yield LABEL, graph.inputs[LABEL], OnnxTensor("int64", [None])
        if (
            graph.density is not None or graph.role == "output"
        ) and not self.latent.fixed:  # they know codes of one size
            known["latent"] = _stated((graph.inputs | graph.outputs).get("latent"))
        if graph.density is not None and self.has("sample", graph.density):
            known["noise"] = OnnxTensor("float32", [None, self.noise_features(graph.density)])
        ends = ends_of(graph.role, self.space.kind)
        for name, stated in [*((name, graph.inputs) for name in ends.inputs), (ends.output, graph.outputs)]:
            if name in known:
                yield name, stated.get(name), known[name]  # type: ignore[misc]

    @property
    def files(self) -> list[str]:
        """All files of the bundle, relative to its folder."""
        named = [MANIFEST, CODES, CARD, PREVIEW, *(self.manifest.files or {}), *(graph.file for graph in self.graphs)]
        return list(dict.fromkeys(named))

    def problems(self) -> dict[str, str]:
        """What is wrong with each file of the bundle, if anything is."""
        found = {}
        checks: dict[str, Callable[[], object]] = {}
        checks.update({file: lambda file=file: self.beside(file) for file in self.manifest.files or {}})  # type: ignore[misc]
        if CODES in checks or (self.directory / CODES).exists():
            checks[CODES] = self.codes
        for graph in self.graphs:
            checks[graph.file] = lambda graph=graph: self.check(graph)  # type: ignore[misc]
        for file, check in checks.items():
            try:
                check()
            except BadInput as error:
                found[file] = error.message
        return found

    def codes(self) -> tuple[Array, Array | None]:
        """Up to 5,000 training codes [n, *latent.shape], and their labels if they had any; raises BadInput where it has none."""
        if self.manifest.private:
            message = f"the bundle {self.name} was exported as private, without codes"
            raise BadInput(message, "export the run again without --private")
        if self.latent.shape == self.space.shape and not (self.directory / CODES).exists():
            message = f"the bundle {self.name} keeps no codes: its code is the {self.space.kind} itself"
            raise BadInput(message, "take a bundle with codes of their own")
        path, content = self.directory / CODES, self.beside(CODES)
        with reading(f"{path} cannot be read", AGAIN), np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if "codes" not in arrays:
                raise BadInput(f"{path} holds no codes", AGAIN)
            if sum(each.file_size for each in arrays.zip.infolist()) > LARGEST:
                raise BadInput(f"{path} holds more than 2 GB", AGAIN)
            codes, labels = arrays["codes"], arrays.get("labels")
        fitting = codes.dtype.kind == "f" and self.latent.fits(codes.shape[1:]) and len(codes)
        if not fitting or (labels is not None and labels.shape[:1] != codes.shape[:1]):
            raise BadInput(f"the codes in {path} do not fit the bundle: {self.latent.batch} numbers are needed", AGAIN)
        with np.errstate(over="ignore"):
            if not np.isfinite(codes.astype(np.float32)).all():
                raise BadInput(f"the codes in {path} hold NaN, infinity or numbers beyond float32", AGAIN)
        return codes, labels


def shapes_noted(space: Space, code: Size) -> dict[str, str]:
    """What graphs say of the sizes of samples and codes in their own metadata."""
    if space.kind == "image" and space.fixed and not code.spatial:
        return {"latent": str(int(code)), "image": json.dumps(list(space.shape))}
    return {"latent": json.dumps(list(code.shape)), space.kind: json.dumps(list(space.shape))}


def _altered(path: Path) -> BadInput:
    return BadInput(f"{path} was altered or cut off: its SHA-256 is not the manifest's", AGAIN)


def _stated(tensor: Tensor | None) -> OnnxTensor | None:
    """What the manifest says of a tensor, as an ONNX file would say it."""
    if tensor is None:
        return None
    return OnnxTensor(tensor.dtype, [size if isinstance(size, int) else None for size in tensor.shape])


def _completed(actual: OnnxTensor, stated: Tensor) -> OnnxTensor:
    """What a graph says of its output, with the sizes that only the manifest says."""
    if actual.sizes is None:
        return OnnxTensor(actual.dtype, (_stated(stated) or actual).sizes)
    if len(actual.sizes) != len(stated.shape):
        return actual
    sizes = [
        each if isinstance(each, int) and own is None else own
        for own, each in zip(actual.sizes, stated.shape, strict=True)
    ]
    return OnnxTensor(actual.dtype, sizes)


def _shown(tensor: OnnxTensor | None) -> str:
    """A tensor in a message: its sizes without a batch that varies, and its type unless it is float32."""
    if tensor is None:
        return "nothing"
    mark = "" if tensor.dtype == "float32" else f"{tensor.dtype} "
    if tensor.sizes is None:
        return f"{mark}of no shape"
    if tensor.sizes[:1] == [None]:
        return mark + _sizes(tensor.sizes[1:])
    return f"{mark}{_sizes(tensor.sizes)} without a batch that may vary"


def _sizes(sizes: Sequence[int | None]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in sizes)}]"


def is_bundle(directory: Path) -> bool:
    """Whether a folder has a manifest."""
    return (directory / MANIFEST).is_file()


def bundle_folder(directory: Path) -> OwnFolder:
    """A folder for a bundle, whose manifest says what in it is ours."""
    return OwnFolder(directory, "bundle", lambda folder: Bundle(folder).files, MANIFEST)


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
