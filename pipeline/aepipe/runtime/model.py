"""A bundle at work: encode, decode, reconstruct, denoise, interpolate, sample and score, with numpy and ONNX Runtime alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.arguments import whole
from aepipe.bundle.manifest import ENDS, Role
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput, foreign
from aepipe.images.arrays import as_array
from aepipe.images.batches import batches, in_parts
from aepipe.images.data import open_images

from . import providers
from .interpolation import arc, line, path_density
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

    Images are arrays [N, C, H, W] (also [N, H, W] and NHWC), uint8 or float in 0..1, memory-mapped ones too; what comes
    back is float32. Codes are float32 [N, latent]. Graphs are loaded when they are first needed.

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

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.bundle.directory, self._wanted, self.precision, self.threads, self.batch_size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of an image."""
        return self.bundle.shape

    @property
    def latent(self) -> int:
        """Size of a code."""
        return self.bundle.latent

    def encode(self, images: Any) -> Array:
        """Codes [N, latent] of images."""
        return self._over(images, self.encode_batch)

    def decode(self, codes: Any) -> Array:
        """Images [N, C, H, W] in 0..1 of codes [N, latent]."""
        return _joined([self.decode_batch(part) for part in in_parts(self.check_codes(codes), self.batch_size)])

    def reconstruct(self, images: Any) -> Array:
        """Images to codes and back."""
        return self._over(images, self.reconstruct_batch)

    def denoise(self, images: Any) -> Array:
        """Restore spoiled images: the same graphs, for a bundle that was trained to denoise."""
        return self._over(images, self.reconstruct_batch)

    def interpolate(self, a: Any, b: Any, steps: int = 12, path: str = "linear", density: str | None = None) -> Array:
        """Between images a and b of equal number through the latent space: [N, steps, C, H, W], ends included.

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
        return self.decode(codes.reshape(-1, self.latent)).reshape(len(start), steps, *self.shape)

    def noise(self, codes: Any, density: str) -> Array:
        """The noise [N, k] from which a density with an inverse makes these codes."""
        return _joined(
            [self.run("noise", part, density) for part in in_parts(self.check_codes(codes), self.batch_size)]
        )

    def from_noise(self, noise: Any, density: str) -> Array:
        """The codes [N, latent] that a density makes of noise [N, k]."""
        name = self.bundle.density_name(density)
        features = self.bundle.noise_features(name)
        checked = self._check_rows(
            noise, features, "numbers of noise", f"[N, {features}] standard normal numbers are needed"
        )
        return _joined([self.run("sample", part, name) for part in in_parts(checked, self.batch_size)])

    def sample(self, count: int = 64, density: str | None = None, seed: int = 0) -> Array:
        """New images [count, C, H, W] from a density on the codes (default: the first of the bundle).

        The noise comes from NumPy's default generator with `seed`: the same on every provider and for every batch size.
        """
        return _joined([self.decode_batch(codes) for codes in self.sample_codes(count, density, seed)])

    def sample_codes(self, count: int, density: str | None = None, seed: int = 0) -> Iterator[Array]:
        """Codes drawn from a density, in batches."""
        count, seed = whole("the count", count, 1), whole("the seed", seed, 0)
        name = self.bundle.density_name(density)
        features = self.bundle.noise_features(name)
        rng = np.random.default_rng(seed)
        for start in range(0, count, self.batch_size):
            noise = rng.standard_normal((min(self.batch_size, count - start), features), dtype=np.float32)
            yield self.run("sample", noise, name)

    def score(self, images: Any, density: str | None = None) -> dict[str, Array]:
        """`error`, the mean squared reconstruction error per pixel [N], and `log_density` of the codes [N]."""
        both = self._over(images, lambda batch: np.stack(list(self.score_batch(batch, density).values()), 1))
        return {"error": both[:, 0], "log_density": both[:, 1]}

    # One batch: float32 images in 0..1 that were checked when they were read.

    def encode_batch(self, images: Array) -> Array:
        return self.run("encoder", images)

    def decode_batch(self, codes: Array) -> Array:
        return self.run("decoder", codes)

    def reconstruct_batch(self, images: Array) -> Array:
        return self.decode_batch(self.encode_batch(images))

    def score_batch(self, images: Array, density: str | None = None) -> dict[str, Array]:
        codes = self.encode_batch(images)
        with np.errstate(under="ignore"):
            error = np.square(self.decode_batch(codes) - images).mean((1, 2, 3))
        return {"error": error, "log_density": self.run("log_prob", codes, self.bundle.density_name(density))}

    def run(self, role: Role, values: Array, density: str | None = None) -> Array:
        """Run one graph with one input on one batch. Raises AepipeError when it fails, or makes what it should not."""
        graph, session = self.bundle.find(role, density, self.precision), self.session(role, density)
        failing = f"{session.name} failed in the {role} with a batch of {len(values)}"
        with foreign(failing, "try a smaller --batch-size, or --provider cpu", say=brief):
            results = session.run({ENDS[role].inputs[0]: values})
        name, who = ENDS[role].output, f"the graph {graph.name} of {self.bundle.name}"
        sizes = [size if isinstance(size, int) else None for size in graph.outputs[name].shape[1:]]
        return checked_output(results, name, who, len(values), sizes, infinite=role == "log_prob")

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

    def check_codes(self, codes: Any) -> Array:
        """Codes as float32 [N, latent]; raises BadInput for another shape, another type, NaN or no codes at all."""
        needed = f"[N, {self.latent}] numbers are needed, as 'aepipe infer encode' writes them"
        return self._check_rows(codes, self.latent, "codes", needed)

    def _check_rows(self, values: Any, width: int, what: str, needed: str) -> Array:
        array = as_array(values, f"what is given as {what}", needed)
        if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != width:
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
        source = open_images(images, shape=self.shape)
        result: Array | None = None
        for batch in batches(source, self.batch_size):
            part = compute(batch.images)
            if result is None:
                result = np.empty((len(source), *part.shape[1:]), part.dtype)
            result[batch.indices] = part
        assert result is not None  # open_images refuses an empty input
        return result

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


def between(model: Model, start: Array, end: Array, steps: int, path: str, density: str | None) -> Array:
    """Codes [N, steps, latent] float32 from `start` to `end`, both [N, latent] and both included.

    `path` is one of PATHS, `density` what `path_density` gave for it. In the noise of a density, whose normal distribution
    is the same in all directions, lengths carry the probability: the arc stays where samples lie, while the straight line
    cuts through the centre, where none do (White, Sampling generative networks, 2016).
    """
    if path == "linear":
        return line(start, end, steps)
    if density is None:
        codes, _ = model.bundle.codes()
        return arc(start, end, steps, about=codes.mean(0))
    flat = arc(model.noise(start, density), model.noise(end, density), steps)
    return model.from_noise(flat.reshape(-1, flat.shape[-1]), density).reshape(len(start), steps, -1)
