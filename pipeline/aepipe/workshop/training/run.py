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
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from aepipe.errors import AepipeError, BadInput, foreign
from aepipe.files.locks import locked
from aepipe.files.numpy_files import read_arrays
from aepipe.files.out import as_path
from aepipe.files.records import Count, as_record, read_entries, to_json
from aepipe.files.regular import read_regular
from aepipe.files.staged import replacing, writing
from aepipe.images.labels import class_count, class_labels
from aepipe.plugins.calling import call, needs
from aepipe.plugins.specs import NAME as NAME_OF_COMPONENT
from aepipe.plugins.specs import parse_spec
from aepipe.space import Raw, Size, Space, in_short, is_bounded

from .model import Autoencoder, build, frozen, load_state, load_tensors, save_tensors
from .own import KINDS as OWN_KINDS
from .own import is_own, own_modules
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
class _Network:
    """An encoder or decoder: a component, or a module that was given to `fit` and is no plugin's."""

    name: str
    options: dict[str, Any]
    plugin: str | None
    version: str | None


@dataclass
class _Density(_Component):
    label: Label


@dataclass
class _Fitted(_Component):
    classes: Count | None = None  # of a density that is told the label


@dataclass
class _Components:
    encoder: _Network
    decoder: _Network
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
    classes: Count | None = None  # how many the labels tell apart
    labels: str | None = None  # digest of the labels, where they are learned from


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
    mse_of_mean: float = math.nan  # that of the mean of these samples in the place of every one of them


@dataclass
class _Config:
    """What run.json must hold. It may hold more."""

    shape: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=4)]
    latent: Count | Annotated[list[Count], Meta(min_length=1, max_length=4)]
    data: _Data
    components: _Components
    densities_wanted: tuple[_Density, ...]
    recipe: Recipe
    augmentations: tuple[_Component, ...] = ()
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
    """What training wrote to a folder; raises BadInput when there is no run or it cannot be read.

    A run that was trained with modules of the user's own holds their weights and not their code: to resume and to export it
    takes them as `encoder` and `decoder` again, whatever their weights are.
    """

    def __init__(self, directory: str | Path, *, encoder: Any = None, decoder: Any = None):
        self.directory = as_path(directory)
        self._read()
        self.own = own_modules(encoder=encoder, decoder=decoder)
        for kind, module in self.own.items():
            self._check_own(kind, module)

    def _read(self) -> None:
        directory, path = self.directory, self.directory / NAME
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
            self._read()
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
    def classes(self) -> int | None:
        """How many classes the labels of the data tell apart; None where there are no labels."""
        facts = self.config["data"]
        if "classes" in facts or not self.finished:
            return facts.get("classes")
        return class_count(class_labels(self.codes()[1]))  # an older aepipe did not write it

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

    def _check_own(self, kind: str, module: nn.Module) -> None:
        """Raise BadInput for a module in the place of a plugin, or of a module of another class."""
        record = self.config["components"][kind]
        if not is_own(record):
            message = (
                f"the {kind} of {self.directory} is {record['name']!r} of {record['plugin']}, no module of your own"
            )
            raise BadInput(message, f"leave out {kind}")
        if type(module).__name__ != record["name"]:
            message = (
                f"{self.directory} was trained with the {kind} {record['name']}, and this is a {type(module).__name__}"
            )
            raise BadInput(message, "give a module like the one that was trained")

    @property
    def missing(self) -> list[str]:
        """Which of encoder and decoder are modules of the user's own that were not given again."""
        return [kind for kind in OWN_KINDS if is_own(self.config["components"][kind]) and kind not in self.own]

    def require_own(self) -> None:
        """Raise BadInput unless all that the run was trained with is there."""
        if missing := self.missing:
            names = " and ".join(f"the {kind} {self.config['components'][kind]['name']}" for kind in missing)
            message = f"the run {self.directory} was trained with {names} of your own, whose code it does not hold"
            given = ", ".join(f"{kind}=…" for kind in missing)
            raise BadInput(message, f"open it in Python with the modules: aepipe.Run({str(self.directory)!r}, {given})")

    def new_model(self, *, rebuild: bool = False) -> Autoencoder:
        """The model with fresh weights; `rebuild` if saved ones will be loaded into it."""
        self.require_own()
        components, data = {**self.config["components"], **self.own}, self.config["data"]
        sizes = self.shape, self.latent, data["mean"], data["std"]
        return build(components, *sizes, bounded=self.bounded, rebuild=rebuild, classes=self.classes)

    @ordinary_settings()
    def model(self) -> Autoencoder:
        """The model with the best weights, in evaluation mode on the CPU."""
        model = self.new_model(rebuild=True)
        self.fill(model, load_tensors(self.directory / "best.safetensors")[0])
        frozen(model)
        return model

    def fill(self, model: Autoencoder, tensors: Mapping[str, Tensor]) -> None:
        """Load weights into the run's model; raises BadInput where they are not its own."""
        hint = {"hint": "give modules like those that were trained"} if self.own else {}
        load_state(model, tensors, f"the model of {self.directory}", **hint)

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
            classes = record_of(path, _Fitted, record).classes
            density = plugins.choose("density", record).make(self.latent, classes=self.classes, rebuild=True)
            load_state(density, tensors, f"density {label!r}")
            if classes and not getattr(density, "classes", None):
                density.classes = classes  # it was set in fit
            record.pop("classes", None)
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
        choice = plugins.choose("density", spec)
        codes, labels = self.codes()
        if not len(codes):
            message = f"the run {self.directory} keeps no codes: its code is the sample itself"
            raise BadInput(message, "train it again with --density, or with a code of its own")
        self.keep_density(choice, codes, labels)
        # It is also noted as wanted, so that training, if it goes on later, fits it again to the new codes.
        record = {**choice.record(), "label": choice.label}
        wanted = {each["label"]: each for each in self.config["densities_wanted"]} | {choice.label: record}
        self.update(densities_wanted=list(wanted.values()), densities=list(wanted))
        return choice.label

    def keep_density(self, choice: plugins.Choice, codes: np.ndarray, labels: np.ndarray | None) -> None:
        """Fit a density to codes of the run, with their labels if they have any, and write it into the folder."""
        seed = self.config["recipe"]["seed"]
        density = fit_density(choice, self.latent, torch.from_numpy(codes), seed, class_labels(labels), self.classes)
        folder = self.directory / "density"
        folder.mkdir(exist_ok=True)
        classes = getattr(density, "classes", None)
        notes = {**choice.record(), **({"classes": int(classes)} if classes else {})}
        save_tensors(folder / f"{choice.label}.safetensors", density.state_dict(), notes)

    def __getstate__(self) -> dict[str, Any]:
        """A run goes to other processes without modules of the user's own, which they have."""
        return {**vars(self), "own": {}}

    @property
    def metrics(self) -> dict[str, Any]:
        """How good a finished run is: mse and psnr (of unbounded values nmse and snr in dB) of `count` samples of `split`, ssim
        of images, mse_input of denoisers, epochs and best_epoch. Raises BadInput for a run that is not finished."""
        self.require_finished()
        return dict(self.config["metrics"])

    def __repr__(self) -> str:
        sizes = in_short(Space.of(self.shape), self.latent, self.config.get("densities", []))
        state = f"MSE {self.config['metrics']['mse']:.5g}" if self.finished else "not finished"
        return f"<Run {str(self.directory)!r}: {sizes}; {state}>"


def choose_densities(specs: str | Iterable[str]) -> list[plugins.Choice]:
    """Densities by spec string, one or several; raises BadInput for two of the same label."""
    choices = [plugins.choose("density", spec) for spec in words("densities", specs)]
    for label, count in Counter(choice.label for choice in choices).items():
        if count > 1:
            raise BadInput(f"{count} densities are called {label!r}", f"give each a label of its own: mine={label}")
    return choices


def fit_density(
    choice: plugins.Choice,
    latent: int,
    codes: Tensor,
    seed: int,
    labels: np.ndarray | None = None,
    classes: int | None = None,
) -> nn.Module:
    """Make a density and fit it to codes [N, *latent.shape], which it sees flat; what it draws at random is fixed by `seed`.

    `labels` are those of the codes, int64 [N], -1 where unknown, and `classes` is how many there are; a density gets them
    where it names them. Raises BadInput where it needs labels and there are none, AepipeError where it has other classes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        density = choice.make(latent, classes=classes)
        require_labels(choice, density.fit, labels is not None, "the data have no labels")
        failing = f"{choice.component} of {choice.component.plugin} failed to fit"
        refusing = f"density {choice.label!r} cannot be fitted"
        given = f"there are {len(codes)} codes of size {latent}"
        with foreign(failing, choice.component.report, refusing=refusing, way_out=given):
            also = {} if labels is None else {"labels": torch.from_numpy(labels)}
            call(density.fit, {"codes": codes.flatten(1)}, also=also)
            int(density.noise_features)
    own = getattr(density, "classes", None)
    if own is not None and own != classes:
        message = f"{choice.component} has {own} classes, where the labels tell {classes or 'none'} apart"
        raise AepipeError(message, choice.component.report)
    return frozen(density)


def require_labels(choice: plugins.Choice, function: Callable[..., Any], there: bool, lacking: str) -> None:
    """Raise BadInput where a function of a plugin cannot be called without labels, and the data have none."""
    if not there and needs(function, "labels"):
        raise BadInput(f"{choice.component} learns from labels, and {lacking}", "train on data with labels, 0, 1, 2, …")


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
