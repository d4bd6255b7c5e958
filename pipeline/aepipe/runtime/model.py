"""A bundle at work: encode, decode, reconstruct, denoise, interpolate, sample and score, with numpy and ONNX Runtime alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.arguments import whole
from aepipe.bundle.manifest import LABEL, Role, ends_of
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput, foreign, without_options
from aepipe.images.arrays import as_array
from aepipe.images.batches import batches, in_parts, one_by_one
from aepipe.images.data import open_images
from aepipe.images.ranges import in_units
from aepipe.images.source import Source
from aepipe.process import free_memory
from aepipe.space import Raw, Sides, Size, Space, fits, in_short

from . import providers
from .interpolation import arc, line, path_density
from .labels import checked_labels, drawn_labels
from .opening import open_graph
from .outputs import checked_output
from .providers import Provider, Session, brief
from .sessions import Sessions

BATCH = 64


def load(
    bundle: str | Path,
    provider: str = "auto",
    *,
    precision: str = "fp32",
    threads: int | None = None,
    batch_size: int = BATCH,
) -> Model:
    """Open a bundle to compute with it.

    `provider` is a spec string: auto, cpu, cuda, cuda:device_id=1, …; one that is named runs there or raises
    ProviderUnavailable. `precision` is one that the bundle was exported in. Raises BadInput for a folder that is not a
    whole, unaltered bundle.
    """
    return Model(Bundle(bundle), provider, precision=precision, threads=threads, batch_size=batch_size)


class Model:
    """The graphs of one bundle on one provider.

    Samples are arrays [N, C, *sides] (in any layout that gives the model's shape), memory-mapped ones too: images as uint8 or
    float in 0..1, others in the units of the training data. They may also be a data string, a path, a list of paths or of
    Pillow images, an open file, a data set of torch or a DataLoader. What comes back is float32 in the same units, where bytes
    are 0..1. Codes are float32 [N, *latent.shape]. Graphs are loaded when they are first needed.

    Methods raise BadInput for samples, codes and names that cannot be used, ProviderUnavailable where the provider that was
    named cannot run, and AepipeError where a graph fails or makes NaN.

    Several threads may use a model at once. A forked child may use it too, and loads the graphs anew. A pickled model is the
    absolute path of its bundle and its settings, `provider` among them: as a spec string, or as an object that can be pickled.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        provider: Provider | str,
        *,
        precision: str = "fp32",
        threads: int | None = None,
        batch_size: int = BATCH,
    ):
        self.batch_size = whole("the batch size", batch_size, 1, f"the default is {BATCH}")
        self.threads = None if threads is None else whole("the number of threads", threads, 1)
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
        self.precision = self.bundle.require_precision(precision)
        self.provider = providers.provider(provider)
        self._wanted = provider
        self._sessions: Sessions[tuple[Role, str | None]] = Sessions(self._open)

    def __repr__(self) -> str:
        sizes = in_short(self.space, self.latent, self.densities)
        wanted = self._wanted if isinstance(self._wanted, str) else type(self.provider).__name__
        return f"<Model {self.bundle.name!r}: {sizes}; {self.precision}, provider {wanted}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.bundle.directory, self._wanted, self.precision, self.threads, self.batch_size)

    @property
    def space(self) -> Space:
        """What a sample is."""
        return self.bundle.space

    @property
    def shape(self) -> Sides:
        """C, *sides of a sample."""
        return self.bundle.shape

    @property
    def latent(self) -> Size:
        """Size of a code: an int, the number of its values, whose `shape` is (8,) of a vector, (4, 16, 16) of a map."""
        return self.bundle.latent

    @property
    def densities(self) -> tuple[str, ...]:
        """The names of the densities on the codes; the first is the one that is taken where none is named."""
        return self.bundle.densities

    @property
    def raw(self) -> Raw | None:
        """The values that users have, where they are not bytes or floats in 0..1."""
        return self.bundle.manifest.data.raw

    @property
    def multiple(self) -> int:
        """Of what open sides are multiples in the graphs: samples of other sides are padded, and their results cropped."""
        return self.bundle.manifest.data.multiple

    @property
    def code_multiple(self) -> int:
        """Of what open sides of codes are multiples: 1 where `multiple` values of a sample become one position of its code."""
        *_, side = self.bundle.find("encoder").outputs["latent"].shape
        return int(side.partition("*")[0]) if isinstance(side, str) and "*" in side else 1

    @property
    def bounded(self) -> bool:
        """Whether samples lie in 0..1 in the graphs."""
        return self.bundle.manifest.data.range is not None

    def in_units(self, samples: Array) -> Array:
        """Samples of the graphs as float32 in the units of the training data."""
        return in_units(samples, self.raw)

    def encode(self, images: Any) -> Array:
        """Codes float32 [N, *latent.shape] of samples."""
        return self._over(images, self.encode_batch)

    def decode(self, codes: Any) -> Array:
        """Samples float32 [N, C, *sides] of codes [N, *latent.shape], in 0..1 or in the units of the training data."""
        parts = in_parts(self.check_codes(codes), self.batch_size)
        return self.in_units(_joined([self.decode_batch(part) for part in parts]))

    def reconstruct(self, images: Any) -> Array:
        """Samples to codes and back, float32 [N, C, *sides] of the sides of the samples."""
        return self.in_units(self._over(images, self.reconstruct_batch))

    def denoise(self, images: Any) -> Array:
        """Restore spoiled samples, float32 [N, C, *sides]: `reconstruct` of a bundle that was trained to denoise."""
        return self.reconstruct(images)

    def interpolate(self, a: Any, b: Any, steps: int = 12, path: str = "linear", density: str | None = None) -> Array:
        """Between samples a and b of equal number through the latent space: [N, steps, C, *sides], ends included.

        `path` is linear (straight lines between codes), slerp (arcs about the mean of the bundle's codes) or density (arcs
        in the noise of `density`, by default the last one that has an inverse). Raises BadInput for any other.
        """
        steps = whole("the number of steps", steps, 2, "the default is 12, and both ends are steps")
        through = path_density(self.bundle, path, density)
        start, end = self.encode(a), self.encode(b)
        if len(start) != len(end):
            raise BadInput(f"{len(start)} images cannot be interpolated with {len(end)}", "give as many ends as starts")
        with np.errstate(under="ignore"):
            codes = between(self, start, end, steps, path, through)
        made = self.decode(codes.reshape(-1, *codes.shape[2:]))
        return made.reshape(len(start), steps, *made.shape[1:])

    def noise(self, codes: Any, density: str, label: Any = None) -> Array:
        """The noise [N, k] from which a density with an inverse makes these codes; of a density that is told a class, `label` is
        one or an array [N]."""
        checked, labels = self.check_codes(codes), None
        if label is not None or self.bundle.takes_label("noise", density):
            labels = checked_labels(self.bundle, "noise", density, label, len(checked))
        return self._over_rows(lambda part, own: self.run("noise", part, density, own), checked, labels)

    def _over_rows(self, compute: Callable[[Array, Array | None], Array], values: Array, labels: Array | None) -> Array:
        """All rows, with their labels if there are any, through `compute` in batches."""
        parts = list(in_parts(values, self.batch_size))
        of_parts = [None] * len(parts) if labels is None else in_parts(labels, self.batch_size)
        return _joined([compute(part, each) for part, each in zip(parts, of_parts, strict=True)])

    def from_noise(self, noise: Any, density: str, label: Any = None) -> Array:
        """The codes [N, latent] that a density makes of noise [N, k]; `label` as in `sample`, where it is drawn by seed 0."""
        name = self.bundle.density_name(density)
        features = self.bundle.noise_features(name)
        checked = self._check_rows(
            noise, (features,), "numbers of noise", f"[N, {features}] standard normal numbers are needed"
        )
        labels = self.labels(name, len(checked), label=label)
        return self._over_rows(lambda part, own: self.run("sample", part, name, own), checked, labels)

    def sample(self, count: int = 64, density: str | None = None, seed: int = 0, label: Any = None) -> Array:
        """New samples [count, C, *sides] from a density on the codes (default: the first of the bundle).

        The noise comes from NumPy's default generator with `seed`: the same on every provider and for every batch size.
        `label` is for a density that is told a class: a number, or an array [count]; by default `seed` draws each as often as
        the training samples have it. Raises BadInput for a density that takes none, for a label that is not there, and where
        memory cannot hold so many.
        """
        return self.in_units(_joined(list(self.sample_batches(count, density, seed, label))))

    def sample_batches(
        self, count: int, density: str | None = None, seed: int = 0, label: Any = None
    ) -> Iterator[Array]:
        """The same in batches on the scale of the graphs, for who keeps all of them."""
        self.require_room(count)
        for codes in self.sample_codes(count, density, seed, label):
            yield self.decode_batch(codes)

    def require_room(self, count: int) -> None:
        """Raise BadInput where memory cannot hold so many samples."""
        values = whole("the count", count, 1) * math.prod(side or 1 for side in self.shape)
        needed, free = 2 * 4 * values, free_memory()  # the parts, and what they are joined to
        if needed > free:
            message = f"{count} samples need {needed / 2**30:,.0f} GiB of memory, and {free / 2**30:,.0f} GiB are free"
            hint = "ask for fewer at a time; a folder or .npy as OUT of the command line takes any number"
            raise BadInput(message, hint)

    def sample_codes(self, count: int, density: str | None = None, seed: int = 0, label: Any = None) -> Iterator[Array]:
        """Codes drawn from a density, in batches; `label` as in `sample`."""
        count, seed = whole("the count", count, 1), whole("the seed", seed, 0)
        name = self.bundle.density_name(density, labelled=label is not None)
        features = self.bundle.noise_features(name)
        labels = self.labels(name, count, seed, label)
        rng = np.random.default_rng(seed)
        for start in range(0, count, self.batch_size):
            noise = rng.standard_normal((min(self.batch_size, count - start), features), dtype=np.float32)
            yield self.run("sample", noise, name, None if labels is None else labels[start : start + len(noise)])

    def labels(self, density: str, count: int, seed: int = 0, label: Any = None) -> Array | None:
        """The labels of `count` samples of a density, int64, as `sample` says; None of a density that takes none."""
        if label is not None:
            return checked_labels(self.bundle, "sample", density, label, count)
        return drawn_labels(self.bundle, seed, range(count)) if self.bundle.takes_label("sample", density) else None

    def log_prob(self, codes: Any, density: str | None = None, label: Any = None) -> Array:
        """Log-densities [N] of codes, natural logarithm, by a density of the bundle (default: the first that gives them).

        Of a density that is told a class, `label` is one or an array [N]; by default the class is unknown: the density is the
        mean of those of all classes, each weighed by how often the training samples have it.
        """
        name = self.bundle.scoring(density)
        if name is None:
            message = f"no density of {self.bundle.name} gives log-densities"
            raise BadInput(message, "fit one that does, such as gaussian: 'aepipe fit-density RUN gaussian'")
        checked = self._of_training_size(codes, "log_prob", name)
        labels = None if label is None else checked_labels(self.bundle, "log_prob", name, label, len(checked))
        return self._over_rows(lambda part, own: self.log_prob_batch(part, name, own), checked, labels)

    def outputs(self, codes: Any) -> dict[str, Array]:
        """What the objective gives beside the code, by name: float32 [N, size] of codes. Raises BadInput where there is nothing."""
        checked = self._of_training_size(codes, "output")
        parts = [self._run_all("output", part) for part in in_parts(checked, self.batch_size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _of_training_size(self, codes: Any, role: Role, density: str | None = None) -> Array:
        """Codes that were checked; raises BadInput for those of samples of another size, which the graph of this role knows not."""
        checked, known = self.check_codes(codes), self.bundle.find(role, density).inputs["latent"].shape[1:]
        if checked.shape[1:] != known:
            what = f"the density {density!r} is" if density else f"the outputs of {self.bundle.name} are"
            message = f"{what} of codes {list(known)}, and these are {list(checked.shape[1:])}"
            raise BadInput(message, "give codes of samples of the training size")
        return checked

    def score(self, images: Any, density: str | None = None, label: Any = None) -> dict[str, Array]:
        """`error`, the mean squared reconstruction error per value of the graphs [N], and `log_density` of the codes [N], where
        a density of the bundle gives one, with `label` as in `log_prob`. It is NaN for samples of another size than the density
        knows."""
        density = self.bundle.scoring(density)
        if label is not None and density is None:
            raise BadInput(f"no density of {self.bundle.name} gives log-densities", "leave out the label")
        if np.ndim(label):
            raise BadInput("a score has one label for all samples", "score the samples of each label by themselves")
        if label is not None:
            checked_labels(self.bundle, "log_prob", str(density), label, 1)
        both = self._over(images, lambda batch: np.stack(list(self.score_batch(batch, density, label).values()), 1))
        return dict(zip(("error", "log_density"), both.T, strict=False))

    # One batch: float32 images in 0..1 that were checked when they were read.

    def encode_batch(self, images: Array) -> Array:
        return self.run("encoder", padded(images, self.multiple))

    def decode_batch(self, codes: Array) -> Array:
        return self.run("decoder", codes)

    def reconstruct_batch(self, images: Array) -> Array:
        return self.restored_batch(images, self.encode_batch(images))

    def restored_batch(self, images: Array, codes: Array) -> Array:
        """What is decoded of the codes of these samples, without what was added to their sides."""
        return cropped(self.decode_batch(codes), images.shape[2:])

    def score_batch(self, images: Array, density: str | None = None, label: int | None = None) -> dict[str, Array]:
        codes = self.encode_batch(images)
        with np.errstate(under="ignore"):
            error = np.square(self.restored_batch(images, codes) - images).reshape(len(images), -1).mean(1)
        if density is None:
            return {"error": error}
        known = self.bundle.find("log_prob", density).inputs["latent"].shape[1:]
        if codes.shape[1:] != known:
            return {"error": error, "log_density": np.full(len(images), np.nan, np.float32)}
        labels = None if label is None else np.full(len(codes), label, np.int64)
        return {"error": error, "log_density": self.log_prob_batch(codes, density, labels)}

    def log_prob_batch(self, codes: Array, density: str, labels: Array | None = None) -> Array:
        if labels is not None or not self.bundle.takes_label("log_prob", density):
            return self.run("log_prob", codes, density, labels)
        shares = self.bundle.class_shares
        of_classes = [
            np.log(shares[each]) + self.run("log_prob", codes, density, np.full(len(codes), each, np.int64))
            for each in np.flatnonzero(shares)
        ]
        return np.logaddexp.reduce(of_classes).astype(np.float32)

    def run(self, role: Role, values: Array, density: str | None = None, labels: Array | None = None) -> Array:
        """Run one graph with one output on one batch, with labels int64 [n] if it takes them. Raises AepipeError when it fails,
        or makes what it should not."""
        return next(iter(self._run_all(role, values, density, labels).values()))

    def _run_all(
        self, role: Role, values: Array, density: str | None = None, labels: Array | None = None
    ) -> dict[str, Array]:
        graph, session = self.bundle.find(role, density, self.precision), self.session(role, density)
        ends = ends_of(role, self.space.kind)
        failing = f"{session.name} failed in the {role} with a batch of {len(values)}"
        with foreign(failing, "try a smaller --batch-size, or --provider cpu", say=brief):
            results = session.run({ends.inputs[0]: values} | ({} if labels is None else {LABEL: labels}))
        who, made = f"the graph {graph.name} of {self.bundle.name}", {}
        for name in (ends.output,) if ends.output else graph.outputs:
            sizes = [size if isinstance(size, int) else None for size in graph.outputs[name].shape[1:]]
            made[name] = checked_output(results, name, who, len(values), sizes, infinite=role == "log_prob")
        return made

    def start(self, *roles: Role) -> None:
        """Load these graphs now, so that a provider that cannot run and a damaged graph are met before any work."""
        for role in roles:
            self.session(role)

    def session(self, role: Role, density: str | None = None) -> Session:
        """The loaded graph; checked against the manifest when it is loaded."""
        return self._sessions[role, density]

    def _open(self, key: tuple[Role, str | None]) -> Session:
        role, density = key
        graph = self.bundle.content(self.bundle.find(role, density, self.precision))
        return open_graph(
            self.provider, graph.path, graph.content, graph.beside, threads=self.threads, batch=self.batch_size
        )

    def runs_on(self, role: Role) -> str:
        """The provider on which a graph runs, with the options that it was given."""
        _, colon, options = self._wanted.partition(":") if isinstance(self._wanted, str) else ("", "", "")
        return f"{self.session(role).name}{colon}{options}"

    def check_codes(self, codes: Any) -> Array:
        """Codes as float32 [N, *latent.shape]; raises BadInput for another shape, another type, NaN or no codes at all."""
        needed = f"{self.latent.batch} numbers are needed, as 'aepipe infer encode' writes them"
        return self._check_rows(codes, self.latent.shape, "codes", needed)

    def _check_rows(self, values: Any, shape: Sides, what: str, needed: str) -> Array:
        array = as_array(values, f"what is given as {what}", needed)
        if array.dtype.kind not in "fiu" or not fits(shape, array.shape[1:]):
            message = f"{what} of shape {list(array.shape)} and type {array.dtype} do not fit this bundle"
            raise BadInput(message, needed)
        if not len(array):
            raise BadInput(f"there are no {what}", "the array has zero rows")
        if not np.isfinite(array).all():
            raise BadInput(f"the {what} hold NaN or infinity", "check what made them")
        with np.errstate(all="ignore"):
            array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            raise BadInput(f"the {what} hold numbers beyond float32", "check what made them")
        return array

    def _over(self, images: Any, compute: Callable[[Array], Array]) -> Array:
        """All images through `compute` in batches, read ahead in a thread."""
        with without_options("skip-bad", "image-size", "channels", "layout", "range", "clip", "split", "limit"):
            return self._over_source(open_images(images, shape=self.shape, raw=self.raw), compute)

    def _over_source(self, source: Source, compute: Callable[[Array], Array]) -> Array:
        if source.own_sizes and not self.space.fixed:
            return self._over_files(source, compute)
        result: Array | None = None
        for batch in batches(source, self.batch_size):
            part = compute(batch.images)
            if result is None:
                result = np.empty((len(source), *part.shape[1:]), part.dtype)
            result[batch.indices] = part
        assert result is not None  # open_images refuses an empty input
        return result

    def _over_files(self, source: Source, compute: Callable[[Array], Array]) -> Array:
        """Image files at their own sizes, one by one; raises BadInput where the results are not of one size."""
        parts = [compute(batch.images) for batch in one_by_one(source)]
        shapes = list(dict.fromkeys(part.shape[1:] for part in parts))
        if len(shapes) > 1:
            message = f"the images of {source.name} have different sizes, and results of {list(shapes[0])} and {list(shapes[1])}"
            raise BadInput(message, "give them one by one")
        return np.concatenate(parts)

    def close(self) -> None:
        """Free the sessions; the next use loads them again. A call of another thread that is under way ends, or raises
        AepipeError."""
        self._sessions.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _again(
    kind: type[Model], directory: Path, provider: Any, precision: str, threads: int | None, batch_size: int
) -> Model:
    """A model as it was pickled."""
    return kind(Bundle(directory), provider, precision=precision, threads=threads, batch_size=batch_size)


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _require_known(model: Model, shape: tuple[int, ...], path: str, density: str | None) -> None:
    """Raise BadInput for codes of another size than those that a path runs among, where sides are open."""
    noise = model.bundle.find("noise", density).inputs["latent"] if density is not None else None
    known = model.bundle.codes()[0].shape[1:] if noise is None else noise.shape[1:]
    if tuple(known) != shape:
        message = f"the {path} path runs among codes of {list(known)}, and these images have codes of {list(shape)}"
        raise BadInput(message, "take --path linear, or images of the training size")


def padded(samples: Array, multiple: int) -> Array:
    """Samples [N, C, *sides] whose sides are the next multiples: continued at their ends by reflection, without repeating the
    edge."""
    missing = [(0, -side % multiple) for side in samples.shape[2:]]
    return np.pad(samples, [(0, 0), (0, 0), *missing], "reflect") if any(map(any, missing)) else samples


def cropped(samples: Array, sides: Sequence[int]) -> Array:
    """The beginning of every side of samples [N, C, *sides]."""
    part: tuple[Any, ...] = (..., *(slice(side) for side in sides))
    return samples[part]


def between(model: Model, start: Array, end: Array, steps: int, path: str, density: str | None) -> Array:
    """Codes [N, steps, *latent.shape] float32 from `start` to `end`, both [N, *latent.shape] and both included.

    `path` is one of PATHS, `density` what `path_density` gave for it. In the noise of a density, whose normal distribution
    is the same in all directions, lengths carry the probability: the arc stays where samples lie, while the straight line
    cuts through the centre, where none do (White, Sampling generative networks, 2016).
    """
    if path != "linear":
        _require_known(model, start.shape[1:], path, density)
    a, b = (each.reshape(len(each), -1) for each in (start, end))
    if path == "linear":
        found = line(a, b, steps)
    elif density is None:
        codes, _ = model.bundle.codes()
        found = arc(a, b, steps, about=codes.mean(0).ravel())
    else:
        flat = arc(model.noise(start, density), model.noise(end, density), steps)
        found = model.from_noise(flat.reshape(-1, flat.shape[-1]), density)
    return found.reshape(len(start), steps, *start.shape[1:])
