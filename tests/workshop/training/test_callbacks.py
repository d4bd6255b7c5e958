"""Callbacks of plugins during training, and components that are not what they must be."""

from __future__ import annotations

from typing import ClassVar

import aepipe
import pytest
from aepipe import hookimpl
from aepipe.errors import AepipeError
from aepipe.workshop.layouts import export_layout
from torch import nn

from tests.helpers.images import blobs
from tests.helpers.settings import STEADY

pytestmark = pytest.mark.trains

# Hooks


def test_a_callback_sees_every_epoch_and_may_stop(tmp_path, register):
    class Stops:
        seen: ClassVar[list] = []

        @hookimpl
        def epoch_finished(self, run):
            self.seen.append((run.epoch, run.metrics["validation_mse"], run.directory, len(run.history)))
            run.stop = run.epoch == 3

    register(Stops(), "stops")
    run = aepipe.fit(blobs(), out=tmp_path / "run", **{**STEADY, "epochs": 9})
    assert [row[0] for row in Stops.seen] == [1, 2, 3] == [row[3] for row in Stops.seen]
    assert [row[1] for row in Stops.seen] == [row["validation_mse"] for row in run.history]
    assert {row[2] for row in Stops.seen} == {tmp_path / "run"}
    assert run.finished and run.config["metrics"]["epochs"] == 3


class Follows:
    """Notes every call of the hooks that follow a run, and spoils what it is given, which is its own."""

    def __init__(self):
        self.calls = []

    @hookimpl
    def run_started(self, run):
        self.calls.append(("started", run.directory, len(run.history), run.configuration["recipe"]["epochs"]))
        run.configuration.clear()

    @hookimpl
    def epoch_finished(self, run):
        self.calls.append(("epoch", run.directory, run.epoch, run.configuration["components"]["encoder"]["name"]))
        run.configuration.clear()

    @hookimpl
    def run_finished(self, run):
        self.calls.append(("finished", run.directory, len(run.history), run.configuration["metrics"]["mse"]))
        run.configuration.clear()

    @hookimpl
    def exported(self, bundle):
        self.calls.append(("exported", bundle.directory, bundle.run, bundle.manifest["components"]["encoder"]["name"]))
        raise RuntimeError("nobody listens")


def test_a_run_is_followed_from_its_start_to_its_bundle(tmp_path, register, capsys):
    follows = Follows()
    register(follows, "follows")
    run = aepipe.fit(blobs(), out=tmp_path / "run", **STEADY)
    place, mse = run.directory, run.config["metrics"]["mse"]
    whole = [
        ("started", place, 0, 2),
        ("epoch", place, 1, "mlp"),
        ("epoch", place, 2, "mlp"),
        ("finished", place, 2, mse),
    ]
    assert follows.calls == whole
    run = aepipe.resume(place, blobs(), epochs=3, show=False)
    further = [
        ("started", place, 2, 3),
        ("epoch", place, 3, "mlp"),
        ("finished", place, 3, run.config["metrics"]["mse"]),
    ]
    assert follows.calls == whole + further
    follows.calls.clear()
    bundle = run.export(tmp_path / "bundle", show=False)
    assert follows.calls == [("exported", bundle, place, "mlp")]
    assert "exported raised: RuntimeError: nobody listens" in capsys.readouterr().err


def test_modules_that_are_exported_are_of_no_run_and_a_bundle_that_goes_again_is_none(tmp_path, register):
    follows = Follows()
    register(follows, "follows")
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    decoder = nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)))
    bundle = aepipe.export_modules(encoder, decoder, blobs(), tmp_path / "bundle", show=False)
    assert follows.calls == [("exported", bundle, None, "Sequential")]
    run = aepipe.fit(blobs(), out=tmp_path / "run", **STEADY)
    follows.calls.clear()
    export_layout("triton", run.directory, tmp_path / "triton", show=False)
    assert follows.calls == []


def test_a_callback_that_raises_is_a_warning(tmp_path, register, capsys):
    class Raises:
        @hookimpl
        def epoch_finished(self, run):
            raise RuntimeError("no disk")

    plugin = register(Raises(), "raises")
    run = aepipe.fit(blobs(), out=tmp_path / "run", **STEADY)
    assert run.finished and len(run.history) == 2
    assert "warning: plugin raises" in capsys.readouterr().err
    assert plugin.errors == ["epoch_finished raised: RuntimeError: no disk"] * 2


def test_a_callback_is_called_once_where_nothing_trains(tmp_path, register):
    class Counts:
        epochs: ClassVar[list] = []

        @hookimpl
        def epoch_finished(self, run):
            self.epochs.append(run.epoch)

    register(Counts(), "counts")
    assert aepipe.fit(blobs(), out=tmp_path / "run", **{**STEADY, "encoder": "pca", "decoder": "pca"}).finished
    assert Counts.epochs == [1]


class Wrong:
    """Components that are not what they must be."""

    @hookimpl
    def register_encoders(self, register):
        register(lambda shape, features: nn.Flatten(), name="too-wide")
        register(lambda shape, features: nn.Linear(5, features), name="misfit")

    @hookimpl
    def register_decoders(self, register):
        register(lambda latent, shape: nn.Sequential(nn.Linear(latent, 64), nn.Unflatten(1, (1, 8, 8))), name="grey")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"encoder": "too-wide"}, r"encoder 'too-wide' made \[2, 192\] of \[2, 3, 8, 8\], \[2, 2\] is needed"),
        ({"encoder": "misfit"}, r"encoder 'misfit' failed on \[2, 3, 8, 8\]: RuntimeError"),
        ({"decoder": "grey"}, r"decoder 'grey' made \[2, 1, 8, 8\] of \[2, 2\], \[2, 3, 8, 8\] is needed"),
    ],
)
def test_components_of_the_wrong_shape_are_named(tmp_path, register, changed: dict, said: str):
    register(Wrong(), "wrong")
    with pytest.raises(AepipeError, match=said) as caught:
        aepipe.fit(blobs(channels=3), out=tmp_path / "run", **{**STEADY, **changed})
    assert "wrong" in caught.value.hint and not (tmp_path / "run").exists()
