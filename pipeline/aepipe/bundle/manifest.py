"""The vocabulary of a bundle: the files in the folder, the roles of its graphs, their names, and every key of the manifest.

Exporter, reader, explorer, Triton layout and tests speak these names alone. docs/manifest.schema.json is made of the
dataclasses below, for programs in other languages.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, get_args

from msgspec import Meta

from aepipe.files.records import Count, Text, as_entries, as_record, to_json
from aepipe.space import KINDS, Kind, Raw, Size, Space

FORMAT = 2  # the newest that is read; what format 1 can say is written in it
MINIMUM_ONNXRUNTIME = "1.18.0"  # the first to read IR 10; tests run bundles on it

MANIFEST, CODES, CARD, PREVIEW, VECTORS = "manifest.json", "codes.npz", "README.md", "preview.png", "vectors"

Role = Literal["encoder", "decoder", "output", "sample", "log_prob", "noise", "reconstruct", "interpolate", "generate"]
Precision = Literal["fp32", "int8", "fp16"]
Io = Literal["float", "uint8"]  # images as float32 NCHW in 0..1, or as bytes NHWC
PRECISIONS, IOS = get_args(Precision), get_args(Io)
PRECISE: tuple[Role, Role] = ("encoder", "decoder")  # the roles that come in other precisions than fp32 too
LABEL = "label"  # the input of those graphs of a density that are told a class: int64 [batch], 0 to `classes` - 1
BATCH = "batch"  # how a size that may vary is written
SIDES = ("d", "h", "w")  # and sides that may vary: h is that of a code, 8*h that of an image; a signal has w alone
LARGEST_IMAGE, LARGEST_CODE = 2**26, 2**20  # numbers in one; more could only be a mistake or an attack on the memory


class Ends(NamedTuple):
    """What a graph takes and gives, by name."""

    inputs: tuple[str, ...]
    output: str


ENDS: dict[Role, Ends] = {
    "encoder": Ends(("image",), "latent"),
    "decoder": Ends(("latent",), "image"),
    "output": Ends(("latent",), ""),  # its outputs have names of their own
    "sample": Ends(("noise",), "latent"),
    "log_prob": Ends(("latent",), "log_prob"),
    "noise": Ends(("latent",), "noise"),
    "reconstruct": Ends(("image",), "reconstruction"),
    "interpolate": Ends(("image_a", "image_b", "alpha"), "image"),
    "generate": Ends(("noise",), "image"),
}


def ends_of(role: Role, kind: Kind = "image") -> Ends:
    """What the graph of a role takes and gives, by name; samples are called by their kind: signal, signal_a."""
    inputs, output = ENDS[role]
    named = [name.replace("image", kind, 1) for name in (*inputs, output)]
    return Ends(tuple(named[:-1]), named[-1])


LEARNED: tuple[Role, ...] = (
    "encoder",
    "decoder",
    "output",
    "sample",
    "log_prob",
    "noise",
)  # they come from torch, not from other graphs


def graph_file(role: Role, density: str | None = None, precision: str = "fp32", io: str = "float") -> str:
    """Where the exporter puts a graph, relative to the bundle. Hosts read it from the manifest and never build it."""
    if density is not None:
        return f"generate/{density}.onnx" if role == "generate" else f"density/{density}/{role}.onnx"
    marks = [mark for mark, usual in ((precision, "fp32"), (io, "float")) if mark != usual]
    return ".".join([role, *marks, "onnx"])


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or an output of a graph."""

    dtype: Annotated[Text, Meta(description="float32, uint8 or int64.")] = "float32"
    layout: Annotated[str | None, Meta(description="Of samples: NC, NCL, NCHW, NCDHW; of bytes NHWC.")] = None
    shape: Annotated[
        tuple[int | str, ...],
        Meta(min_length=1, description="Sizes; a text, such as batch, names a size that may vary."),
    ]


def tensor(*sizes: int | str, layout: str | None = None, dtype: str = "float32", batch: str = BATCH) -> Tensor:
    """A tensor with a dynamic batch."""
    return Tensor(dtype=dtype, layout=layout, shape=(batch, *sizes))


def sample_tensor(space: Space, multiple: int = 1, batch: str = BATCH) -> Tensor:
    """Samples of a model as float32; sides of any size are multiples of a number that has a name."""
    return tensor(space.channels, *_named(space.sides, multiple), layout=space.axes, batch=batch)


def code_tensor(code: Size, multiple: int = 1) -> Tensor:
    """Codes of a model as float32."""
    first, *sides = code.shape
    return tensor(int(first or 1), *_named(sides, multiple))


def _named(sides: Sequence[int | None], multiple: int) -> list[int | str]:
    names = [name if multiple == 1 else f"{multiple}*{name}" for name in SIDES[len(SIDES) - len(sides) :]]
    return [name if side is None else side for side, name in zip(sides, names, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One ONNX graph of a bundle."""

    role: Annotated[
        Text, Meta(description=f"What it computes: {', '.join(ENDS)}. Readers ignore roles that they do not know.")
    ]
    density: Annotated[Text | None, Meta(description="Which density it belongs to.")] = None
    precision: Annotated[Text, Meta(description=f"How it computes: {', '.join(PRECISIONS)}.")] = "fp32"
    io: Annotated[Text, Meta(description="float: images are float32 NCHW in 0..1. uint8: bytes NHWC.")] = "float"
    file: Annotated[Text, Meta(description="Path of the file, relative to the bundle, with forward slashes.")]
    sha256: Annotated[Text, Meta(description="Hex digest of the file.")] = ""
    inputs: Annotated[dict[str, Tensor], Meta(description="By name.")]
    outputs: Annotated[dict[str, Tensor], Meta(description="By name.")]
    lowered: Annotated[bool | None, Meta(description="Whether it was rewritten to run faster.")] = None
    discrete: Annotated[
        bool | None, Meta(description="Of log_prob: the logarithm of a probability, and not of a density.")
    ] = None

    def __post_init__(self) -> None:
        """Raises ValueError for a file out of the bundle, for absurd sizes, and where an input that the role needs is missing."""
        inside(self.file)
        for name, each in [*self.inputs.items(), *self.outputs.items()]:
            sizes = [size for size in each.shape if isinstance(size, int)]
            if any(size < 1 for size in sizes) or math.prod(sizes) > LARGEST_IMAGE:
                raise ValueError(f"the tensor {name!r} of the {self.role} has an absurd shape")
        if self.role in ENDS and not any(set(ends_of(self.role, kind).inputs) <= set(self.inputs) for kind in KINDS):
            missing = next(name for name in ENDS[self.role].inputs if name not in self.inputs)
            raise ValueError(f"the {self.role} has no input {missing!r}")
        if self.role == "sample":
            features = self.inputs["noise"].shape[-1]
            if not isinstance(features, int) or features > LARGEST_CODE:
                raise ValueError("the noise of a sample graph has no fixed size, or an absurd one")

    @property
    def name(self) -> str:
        """How parity reports and messages call it: encoder, pca/sample, decoder.uint8."""
        marks = [mark for mark, usual in ((self.precision, "fp32"), (self.io, "float")) if mark != usual]
        return ".".join([f"{self.density}/{self.role}" if self.density else self.role, *marks])

    @property
    def takes_label(self) -> bool:
        """Whether it is told a class."""
        return LABEL in self.inputs

    @property
    def of_tasks(self) -> bool:
        """Whether it is one of those for bytes and for whole tasks, which are made of others."""
        return self.role not in LEARNED or self.io != "float"

    @property
    def notes(self) -> dict[str, str]:
        """What the graph says of itself in its own metadata, beside what all graphs of the bundle say."""
        said = {"role": self.role, "density": self.density, "io": None if self.io == "float" else self.io}
        return {key: value for key, value in said.items() if value is not None}

    def hashed(self, folder: Path) -> Graph:
        """The same with the digest of its file in `folder`."""
        return replace(self, sha256=sha256(folder / self.file))


@dataclass(frozen=True, kw_only=True)
class Data:
    """What the graphs take and give as samples."""

    kind: Annotated[Kind, Meta(description="row, signal, image or volume: 0 to 3 sides.")]
    shape: Annotated[
        tuple[Count | None, ...],
        Meta(min_length=1, max_length=4, description="Channels, then sides; null: any multiple of `multiple`."),
    ]
    multiple: Annotated[Count, Meta(description="Sides that are null are multiples of it; pad by reflection.")] = 1
    reach: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Pixels to each side that decide about one of the output; left out: all, or not known."),
    ] = None
    range: Annotated[
        tuple[float, float] | None, Meta(description="Lowest and highest value in the graphs; null: unbounded.")
    ]
    raw: Raw | None = None
    prepare: Annotated[
        dict[str, Any] | None, Meta(description="How a file becomes the input: docs/preparation.md.")
    ] = None

    def __post_init__(self) -> None:
        """Raises ValueError for a shape that is not of the kind, and for no channels."""
        if self.shape[0] is None:
            raise ValueError("the number of channels is missing")
        Space(self.kind, self.shape)
        if self.range is not None and not all(map(math.isfinite, self.range)):
            raise ValueError("a range is NaN or infinite")


@dataclass(frozen=True, kw_only=True)
class Latent:
    """What the graphs take and give as codes."""

    shape: Annotated[
        tuple[Count | None, ...],
        Meta(min_length=1, max_length=4, description="(n): a vector. (c, sides): a map; null: as the sample's side."),
    ]

    def __post_init__(self) -> None:
        if self.shape[0] is None:
            raise ValueError("the number of channels of a code is missing")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """manifest.json: what a bundle holds, where it comes from and how good it is."""

    format: Annotated[
        int, Meta(ge=1, description="Version of this file; readers refuse a higher one than they know.")
    ] = 1
    name: Text
    aepipe: Annotated[Text, Meta(description="The version of aepipe that wrote it.")] = ""
    pair: Annotated[Text, Meta(description="SHA-256 of all weights: what ties the graphs of one training together.")]
    data: Data
    latent: Latent
    graphs: tuple[Graph, ...]
    densities: Annotated[tuple[Text, ...], Meta(description="Names; the first is the default.")] = ()
    classes: Annotated[
        Count | None, Meta(description="How many: the input label of graphs that have one is 0 to classes - 1.")
    ] = None
    components: Annotated[
        dict[str, Any],
        Meta(description="What it is made of: kind to {name, options, plugin, version}, and densities by name."),
    ] = field(default_factory=dict)
    trained: Annotated[dict[str, Any], Meta(description="On what it was trained, to do what, and how.")] = field(
        default_factory=dict
    )
    metrics: Annotated[dict[str, Any], Meta(description="How good its reconstructions are, and on which images.")] = (
        field(default_factory=dict)
    )
    minimum_onnxruntime: Annotated[Text, Meta(description="The oldest ONNX Runtime that reads the graphs.")] = (
        MINIMUM_ONNXRUNTIME
    )
    parity: Annotated[
        dict[str, float] | None, Meta(description="Largest difference from what a graph was made of, by graph.")
    ] = None
    private: Annotated[
        bool | None, Meta(description="True: exported without codes, labels, preview and the name of the data.")
    ] = None
    files: Annotated[
        dict[Text, Text] | None,
        Meta(
            description="SHA-256 (hex) of each file beside the graphs, by its path; external data of graphs among them."
        ),
    ] = None
    vectors: Annotated[
        Text | None, Meta(description="The folder of test vectors: an input and what comes of it, stage by stage.")
    ] = None
    precisions: Annotated[
        dict[str, Any] | None,
        Meta(description="What each precision beside fp32 costs: {mse, fp32, rise, fp32_layers}."),
    ] = None

    def __post_init__(self) -> None:
        """Raises ValueError for files out of the bundle, absurd sizes, two graphs for one purpose, and numbers that are none."""
        for file in self.files or {}:
            inside(file)
        sizes = [math.prod(side for side in shape if side) for shape in (self.data.shape, self.latent.shape)]
        if sizes[0] > LARGEST_IMAGE or sizes[1] > (LARGEST_IMAGE if self.code.spatial else LARGEST_CODE):
            raise ValueError("images or codes have an absurd size")
        if (self.classes or 0) > LARGEST_CODE:
            raise ValueError("there is an absurd number of classes")
        if self.classes is None and any(graph.takes_label for graph in self.graphs):
            raise ValueError("a graph takes a label, and the number of classes is missing")
        if not all(map(math.isfinite, (self.parity or {}).values())):
            raise ValueError("a number is NaN or infinite")
        purposes = [(each.role, each.density, each.precision, each.io) for each in self.graphs]
        if len(set(purposes)) < len(purposes):
            raise ValueError("two graphs have the same role, density, precision and io")

    @property
    def space(self) -> Space:
        """What a sample is."""
        return Space(self.data.kind, self.data.shape)

    @property
    def code(self) -> Size:
        """How many numbers a code has, and in what shape."""
        return Size(*self.latent.shape)

    def hashed(self, folder: Path) -> Manifest:
        """The same with the digests of what lies in `folder` beside the graphs."""
        vectors = [f"{VECTORS}/{each.name}" for each in sorted((folder / VECTORS).glob("*.*"))] if self.vectors else []
        named = [CODES, CARD, PREVIEW, *vectors, *(self.files or {})]
        beside = [name for name in dict.fromkeys(named) if (folder / name).is_file()]
        return replace(self, files={name: sha256(folder / name) for name in beside})

    def write(self, folder: Path) -> None:
        """Write manifest.json into `folder`, in the lowest format that can say it."""
        (folder / MANIFEST).write_text(to_json(self.entries()), encoding="utf-8")

    @property
    def needs_format_2(self) -> bool:
        """Whether format 1 cannot say it."""
        said = self.data.range, self.data.raw, self.data.multiple
        plain = self.data.kind == "image" and self.space.fixed and said == ((0, 1), None, 1)
        return not plain or self.code.spatial or not self.densities or self.classes is not None

    def entries(self) -> dict[str, Any]:
        """What manifest.json holds."""
        entries = as_entries(self)
        if self.needs_format_2:
            return {**entries, "format": 2}
        first = {
            "image": {"shape": entries["data"]["shape"], "range": entries["data"]["range"]},
            "latent": int(self.code),
        }
        # In the order in which format 1 has always been written.
        named = {"data": "image"}
        return {named.get(key, key): first.get(named.get(key, key), value) for key, value in entries.items()}


@dataclass(frozen=True, kw_only=True)
class Image:
    """What the graphs of format 1 take and give."""

    shape: Annotated[tuple[Count, Count, Count], Meta(description="Channels, height, width.")]
    range: Annotated[tuple[float, float], Meta(description="Lowest and highest value.")] = (0, 1)


@dataclass(frozen=True, kw_only=True)
class FormatOne:
    """What format 1 says instead of `data` and the shape of `latent`: images of one size, and codes that are vectors."""

    image: Image
    latent: Annotated[Count, Meta(description="Numbers in a code.")]


def upgraded(entries: dict[str, Any]) -> dict[str, Any]:
    """The entries of a manifest of any format as those of the newest. Raises ValueError that names what is missing or wrong."""
    if entries["format"] > 1:
        return entries
    first = as_record(FormatOne, entries)
    data = {"kind": "image", "shape": list(first.image.shape), "range": list(first.image.range)}
    return {**entries, "data": data, "latent": {"shape": [first.latent]}}


def inside(file: str) -> None:
    """Raise ValueError unless `file` can only be a file in the bundle's folder, and none that another program keeps there."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\\" in file or ":" in file:
        raise ValueError(f"the file {file!r} leads out of the bundle")
    if not path.parts or any(part.startswith(".") for part in path.parts) or str(path) != file or file == MANIFEST:
        raise ValueError(f"{file!r} is no name for a file of a bundle")


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def spec_of(record: Mapping[str, Any]) -> str:
    """The spec string of a component that a manifest or a run remembers: conv:channels=32, without options that are None."""
    options = {
        key: "/".join(map(str, value)) if isinstance(value, list | tuple) else value
        for key, value in record["options"].items()
    }
    text = ",".join(f"{key}={value}" for key, value in options.items() if value is not None)
    return record["name"] + (f":{text}" if text else "")
