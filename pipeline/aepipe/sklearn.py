"""An autoencoder as an estimator of scikit-learn: for pipelines, grids and whatever else takes one."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from aepipe._types import Array
from aepipe.bundle.reader import bundle_folder
from aepipe.runtime.model import Model, load
from aepipe.space import AXES, KINDS
from aepipe.workshop import entry

__all__ = ["Autoencoder"]


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Codes of rows, rows of codes, and a density on the codes.

    `fit` trains with torch and exports to ONNX; every other method runs the exported graphs, without torch. A pickle holds
    these graphs, and nothing of the data. X is [n_samples, n_features], float32 or what becomes it.

    Parameters
    ----------
    latent_dim : numbers in a code, or the shape of a map, or "image" for codes as large as a sample.
    encoder, decoder, objective : spec strings of plugins, or for the first two torch modules of your own.
    density : spec string of the density on the codes, or None for none.
    shape : what a row is where it is an image or a signal: (C, *sides), of which a row is the flat form. Default: a row.
    range : what values are, as of `aepipe.fit`: "none" for any real numbers, which are standardised; "0..255", or a pair.
    epochs, batch_size, lr, schedule, patience, device : how to train, as of `aepipe.fit`.
    provider : where the graphs run: "auto", "cpu", "cuda", …
    random_state : an int makes `fit` and `sample` repeatable; also a RandomState, or None for another result each time.
    verbose : whether `fit` says what it does, on stderr.

    Attributes
    ----------
    bundle_ : the exported bundle; `export` writes it to a folder.
    n_features_in_, feature_names_in_ : of the X that was fitted.
    """

    def __init__(
        self,
        latent_dim: Any = 8,
        *,
        encoder: Any = "mlp",
        decoder: Any = "mlp",
        objective: str = "mse",
        density: str | None = "gaussian",
        shape: Any = None,
        range: Any = "none",
        epochs: int = 25,
        batch_size: int = 100,
        lr: float = 1e-3,
        schedule: str = "constant",
        patience: int = 0,
        device: str = "auto",
        provider: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.latent_dim = latent_dim
        self.encoder, self.decoder, self.objective, self.density = encoder, decoder, objective, density
        self.shape, self.range = shape, range
        self.epochs, self.batch_size, self.lr, self.schedule, self.patience = epochs, batch_size, lr, schedule, patience
        self.device, self.provider = device, provider
        self.random_state, self.verbose = random_state, verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on rows X [n_samples, n_features], at least two; y is ignored.

        Raises ValueError for rows that are no finite numbers, BadInput for options that cannot be used, and what `Run.export`
        raises for networks that cannot be exported.
        """
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        shape = (X.shape[1],) if self.shape is None else tuple(self.shape)
        if prod(shape) != X.shape[1]:
            raise ValueError(f"X has {X.shape[1]} features, and samples of shape {list(shape)} have {prod(shape)}")
        with tempfile.TemporaryDirectory(prefix="aepipe-") as folder:
            run = entry.fit(
                X.reshape(-1, *shape),
                layout=AXES[KINDS[len(shape) - 1]],
                out=Path(folder, "run"),
                densities=[] if self.density is None else [self.density],
                seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
                show=self.verbose,
                **{name: getattr(self, name) for name in TRAINING},
            )
            bundle = run.export(Path(folder, "autoencoder"), private=True, show=self.verbose)
            self.bundle_ = BundleBytes.of(bundle, self.provider)
        self._n_features_out = int(self.bundle_.model.latent)
        return self

    def transform(self, X: Any) -> Array:
        """Codes of rows X, float32 [n_samples, numbers in a code]."""
        model, samples = self._given(X)
        return model.encode(samples).reshape(len(samples), -1)

    def inverse_transform(self, X: Any) -> Array:
        """Rows of codes X [n_samples, numbers in a code], float32 [n_samples, n_features] in the units of the training data."""
        model, codes = self._model(), np.asarray(X)
        decoded = model.decode(codes.reshape(-1, *model.latent.shape) if codes.ndim == 2 else codes)
        return decoded.reshape(len(decoded), -1)

    def score_samples(self, X: Any) -> Array:
        """The natural logarithm of the density of the codes of rows X, float32 [n_samples]."""
        model, samples = self._given(X)
        return model.log_prob(model.encode(samples))

    def score(self, X: Any, y: Any = None) -> float:
        """The share of the variance of rows X that their reconstruction explains: 1 at best, 0 for that of the mean."""
        model, samples = self._given(X)
        restored = model.reconstruct(samples).reshape(len(samples), -1)
        return float(r2_score(samples.reshape(restored.shape), restored, multioutput="variance_weighted"))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """New rows from the density, float32 [n_samples, n_features]; `random_state` is by default that of the estimator."""
        state = check_random_state(self.random_state if random_state is None else random_state)
        made = self._model().sample(n_samples, seed=int(state.randint(2**31 - 1)))
        return made.reshape(len(made), -1)

    def export(self, out: str | Path) -> Path:
        """Write the bundle to a folder, which `aepipe.load` opens. A bundle is replaced; raises BadInput for any other folder."""
        check_is_fitted(self, "bundle_")
        with bundle_folder(Path(out)).replacing() as folder:
            self.bundle_.write(folder)
        return Path(out)

    def _model(self) -> Model:
        check_is_fitted(self, "bundle_")
        return self.bundle_.model

    def _given(self, X: Any) -> tuple[Model, Array]:
        """The model, and rows X as its samples [N, C, *sides]."""
        model = self._model()
        rows = validate_data(self, X, dtype=np.float32, reset=False)
        return model, rows.reshape(-1, *model.shape)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


TRAINING = (
    "encoder",
    "decoder",
    "objective",
    "latent_dim",
    "range",
    "epochs",
    "batch_size",
    "lr",
    "schedule",
    "patience",
    "device",
)


class BundleBytes:
    """A bundle in memory, and the model that runs it.

    The model needs files. They lie in a folder of this process, which is made when the model is first needed and goes when this
    object does, or the process; a forked child makes one of its own. A pickle holds the bytes alone.
    """

    def __init__(self, files: dict[str, bytes], provider: str):
        self.files, self.provider = files, provider
        self._opened: tuple[int, Model] | None = None  # the process, and the model in it

    @classmethod
    def of(cls, bundle: Path, provider: str) -> Self:
        """Everything that lies in the folder of a bundle."""
        paths = [path for path in bundle.rglob("*") if path.is_file()]
        return cls({path.relative_to(bundle).as_posix(): path.read_bytes() for path in paths}, provider)

    @property
    def model(self) -> Model:
        if self._opened is None or self._opened[0] != os.getpid():
            folder = Path(tempfile.mkdtemp(prefix="aepipe-"))
            weakref.finalize(self, _remove, folder, os.getpid())
            self.write(folder)
            self._opened = os.getpid(), load(folder, self.provider)
        return self._opened[1]

    def write(self, folder: Path) -> None:
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.files, self.provider)


def _remove(folder: Path, owner: int) -> None:
    """Remove a folder in the process that made it: a forked child has a copy of the object, and not the folder."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
