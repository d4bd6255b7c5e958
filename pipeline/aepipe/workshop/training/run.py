"""A run: the folder that training writes and that export reads.

run.json            resolved configuration, data, components, metrics; written when training starts and when it ends
metrics.jsonl       one object per epoch
last.safetensors    weights, optimiser and history: what --resume continues from
best.safetensors    weights with the lowest validation error: what densities and export use
codes.npz           codes of the training images (and labels)
heldout.npz         up to 256 images that did not train: what export is checked with
density/NAME.safetensors
"""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor, nn

from aepipe import plugins
from aepipe._types import Shape
from aepipe.arguments import words
from aepipe.errors import BadInput, foreign
from aepipe.files.locks import locked
from aepipe.files.numpy_files import read_arrays
from aepipe.files.out import as_path
from aepipe.files.records import Count, as_record, read_entries, to_json
from aepipe.files.regular import read_regular
from aepipe.files.staged import replacing, writing
from aepipe.plugins.specs import NAME as NAME_OF_COMPONENT
from aepipe.plugins.specs import parse_spec
from aepipe.space import Raw, Size, is_bounded

from .model import Autoencoder, build, frozen, load_state, load_tensors, save_tensors
from .recipe import Recipe
from .surroundings import ordinary_settings

T = TypeVar("T")

FORMAT = 1
TRAINED = ("metrics.jsonl", "last.safetensors", "best.safetensors", "codes.npz", "heldout.npz", "curve.png")
AGAIN = "finish or repeat the training run"
NAME, LOCK = "run.json", ".aepipe-run.lock"

Label = Annotated[str, Meta(pattern=rf"^{NAME_OF_COMPONENT.pattern}\Z")]  # it becomes a part of a path


@dataclass
class _Component:
    name: str
    options: dict[str, Any]
    plugin: str
    version: str


@dataclass
class _Density(_Component):
    label: Label


@dataclass
class _Components:
    encoder: _Component
    decoder: _Component
    objective: _Component
    corruption: _Component | None
    optimiser: _Component | None = None  # Adam, in runs of an older aepipe


@dataclass
class _Data:
    """What the images were, and which of them trained."""

    spec: str
    split: Literal["train", "test"]
    limit: Count | None
    image_size: int | tuple[int, int] | None  # with Count in this place msgspec 0.22 crashes
    channels: Count | None
    skip_bad: bool
    train: Count
    mean: float
    std: float
    fingerprint: str
    dataset: _Component | None
    layout: str | None = None  # of an array
    raw: Raw | None = None  # how its values become those of the graphs


@dataclass
class _Metrics:
    """How good a finished run is."""

    epochs: Count
    best_epoch: Count
    split: str
    count: Count
    mse: float
    psnr: float = math.nan  # of bounded values, of the mean error and the mean of each sample's
    psnr_mean: float = math.nan
    nmse: float = math.nan  # of unbounded values, as snr
    snr: float = math.nan
    ssim: float = math.nan  # of images that are large enough
    mse_input: float = math.nan  # of a run that restores spoiled images


@dataclass
class _Config:
    """What run.json must hold. It may hold more."""

    shape: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=4)]
    latent: Count | list[Count]
    data: _Data
    components: _Components
    densities_wanted: tuple[_Density, ...]
    recipe: Recipe
    finished: bool = False
    densities: tuple[Label, ...] = ()
    metrics: _Metrics | None = None
    extended_at: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where a finished run has no metrics."""
        if self.finished and self.metrics is None:
            raise ValueError("a finished run has metrics")


@dataclass
class _Row:
    """What a line of metrics.jsonl must hold. It holds more."""

    epoch: Count
    validation_mse: float


def _row(line: str) -> dict[str, Any]:
    entries = json.loads(line)
    as_record(_Row, entries)
    return entries


class RunFolder:
    """What training wrote to a folder; raises BadInput when there is no run or it cannot be read."""

    def __init__(self, directory: str | Path):
        self.directory = directory = as_path(directory)
        path = self.directory / NAME
        if not path.exists():
            raise BadInput(f"{directory} is not a run: it has no {NAME}", "make one with 'aepipe train -o RUN'")
        record, self.config = read_entries(_Config, path, str(path), FORMAT, "train the run again")
        self.recipe, self.raw = record.recipe, record.data.raw
        self.bounded = is_bounded(self.raw)
        self.config["recipe"] = asdict(self.recipe)  # whatever an older aepipe did not write has its default

    @classmethod
    def create(cls, directory: Path, config: dict[str, Any]) -> Self:
        with writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
        _write_json(directory / NAME, {"format": FORMAT, **config})
        return cls(directory)

    @contextlib.contextmanager
    def alone(self, *, wait: bool = False) -> Iterator[None]:
        """A block in which no other process writes to this run; `wait` for one that does. What it wrote is read first.

        Raises BadInput where another process writes.
        """
        with locked(self.directory / LOCK, f"the run {self.directory}", wait=wait):
            self.__init__(self.directory)  # type: ignore[misc]
            yield

    def update(self, **changes: Any) -> None:
        """Change entries of run.json."""
        self.config.update(changes)
        _write_json(self.directory / NAME, self.config)

    @property
    def shape(self) -> Shape:
        """C, *sides of a sample."""
        return tuple(self.config["shape"])

    @property
    def latent(self) -> Size:
        """How many numbers a code has, and in what shape."""
        return Size.of(self.config["latent"])

    @property
    def finished(self) -> bool:
        return bool(self.config.get("finished"))

    def require_finished(self) -> None:
        if not self.finished:
            raise BadInput(
                f"the run {self.directory} is not finished", f"finish it with 'aepipe train --resume {self.directory}'"
            )

    @property
    def files(self) -> list[str]:
        """All files that training and fitting wrote, relative to the folder; run.json, which makes it a run, is the last."""
        labels = {record["label"] for record in self.config["densities_wanted"]} | set(self.config.get("densities", []))
        density = [f"density/{label}.safetensors" for label in sorted(labels)]
        return [*TRAINED, *density, NAME]

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl."""
        path = self.directory / "metrics.jsonl"
        try:
            lines = read_regular(path).decode("utf-8").splitlines() if path.exists() else []
            return [_row(line) for line in lines]
        except (OSError, ValueError, RecursionError) as error:
            raise BadInput(f"{path} cannot be read: {error}", "train the run again") from None

    def new_model(self, *, rebuild: bool = False) -> Autoencoder:
        """The model with fresh weights; `rebuild` if saved ones will be loaded into it."""
        components, data = self.config["components"], self.config["data"]
        moments = data["mean"], data["std"]
        return build(components, self.shape, self.latent, *moments, bounded=self.bounded, rebuild=rebuild)

    @ordinary_settings()
    def model(self) -> Autoencoder:
        """The model with the best weights, in evaluation mode on the CPU."""
        model = self.new_model(rebuild=True)
        load_state(model, load_tensors(self.directory / "best.safetensors")[0], f"the model of {self.directory}")
        frozen(model)
        return model

    def codes(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Codes of the training images, float32 [N, *latent.shape], and their labels if they had any."""
        arrays = read_arrays(self.directory / "codes.npz", AGAIN)
        return arrays["codes"], arrays.get("labels")

    def heldout(self) -> np.ndarray:
        """Held-out samples [n, C, *sides] for the graphs: uint8, or float32, in 0..1 unless they are unbounded."""
        return read_arrays(self.directory / "heldout.npz", AGAIN)["images"]

    @ordinary_settings()
    def densities(self, labels: Iterable[str] | None = None) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
        """Fitted densities by label, each with its record: these, or all in the order in which they were fitted."""
        found = {}
        for label in self.config.get("densities", []) if labels is None else labels:
            path = self.directory / "density" / f"{label}.safetensors"
            tensors, record = load_tensors(path)
            record_of(path, _Component, record)
            density = plugins.choose("density", record).make(self.latent, rebuild=True)
            load_state(density, tensors, f"density {label!r}")
            found[label] = (frozen(density), record)
        return found

    @ordinary_settings()
    def fit_density(self, spec: str) -> str:
        """Fit one more density to the training codes; returns its label. A density of the same label is replaced.

        It waits for another process that writes to the run.
        """
        self.require_finished()
        with self.alone(wait=True):
            self.require_finished()
            return self._fit_density(spec)

    def _fit_density(self, spec: str) -> str:
        for record in self.config["densities_wanted"]:
            if record["name"] == parse_spec(spec, labels=True).name:
                plugins.choose("density", record)  # if its plugin is gone, this says what to install
        choice, codes = plugins.choose("density", spec), self.codes()[0]
        if not len(codes):
            message = f"the run {self.directory} keeps no codes: its code is the sample itself"
            raise BadInput(message, "train it again with --density, or with a code of its own")
        density = fit_density(choice, self.latent, torch.from_numpy(codes), self.config["recipe"]["seed"])
        folder = self.directory / "density"
        folder.mkdir(exist_ok=True)
        save_tensors(folder / f"{choice.label}.safetensors", density.state_dict(), choice.record())
        # It is also noted as wanted, so that training, if it goes on later, fits it again to the new codes.
        record = {**choice.record(), "label": choice.label}
        wanted = {each["label"]: each for each in self.config["densities_wanted"]} | {choice.label: record}
        self.update(densities_wanted=list(wanted.values()), densities=list(wanted))
        return choice.label

    def __repr__(self) -> str:
        return f"Run({str(self.directory)!r})"


def choose_densities(specs: str | Iterable[str]) -> list[plugins.Choice]:
    """Densities by spec string, one or several; raises BadInput for two of the same label."""
    choices = [plugins.choose("density", spec) for spec in words("densities", specs)]
    for label, count in Counter(choice.label for choice in choices).items():
        if count > 1:
            raise BadInput(f"{count} densities are called {label!r}", f"give each a label of its own: mine={label}")
    return choices


def fit_density(choice: plugins.Choice, latent: int, codes: Tensor, seed: int) -> nn.Module:
    """Make a density and fit it to codes [N, *latent.shape], which it sees flat; what it draws at random is fixed by `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        density = choice.make(latent)
        failing = f"{choice.component} of {choice.component.plugin} failed to fit"
        refusing = f"density {choice.label!r} cannot be fitted"
        given = f"there are {len(codes)} codes of size {latent}"
        with foreign(failing, choice.component.report, refusing=refusing, way_out=given):
            density.fit(codes.flatten(1))
            int(density.noise_features)
    return frozen(density)


def record_of(path: Path, kind: type[T], notes: Any) -> T:
    """The notes in the file of some tensors as a dataclass; raises BadInput where they are something else."""
    try:
        return as_record(kind, notes)
    except ValueError as error:
        raise BadInput(f"{path} is broken: {error}", "it is damaged; train the run again") from None


def _write_json(path: Path, value: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(to_json(value), encoding="utf-8")


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz file, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # NumPy's own keyword comes first
