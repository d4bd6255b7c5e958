"""Every hook of aepipe. A plugin implements any of them with `aepipe.hookimpl`; plugins/README.md teaches how."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from .reports import BundleReport, EpochReport, RunReport

hookspec = pluggy.HookspecMarker("aepipe")

Register = Callable[..., Any]  # register(factory) or register(factory, name="my-name")


@hookspec
def register_encoders(register: Register) -> None:
    "Factories `(shape, features, *, options)` of modules that turn images [N, *shape] into features [N, features]."


@hookspec
def register_decoders(register: Register) -> None:
    "Factories `(latent, shape, *, options)` of modules that turn codes [N, latent] into images [N, *shape]."


@hookspec
def register_objectives(register: Register) -> None:
    "Factories `(latent, *, options)` of modules that turn features into codes and give the training loss."


@hookspec
def register_densities(register: Register) -> None:
    "Factories `(latent, *, options)` of probability densities on codes: fit, sample, log_prob, maybe noise."


@hookspec
def register_optimisers(register: Register) -> None:
    "Factories `(parameters, lr, *, options)` of torch optimisers; `parameters` are pairs (name, parameter)."


@hookspec
def register_corruptions(register: Register) -> None:
    "Factories `(*, options)` of functions `corrupt(images in 0..1, rng) -> images` that spoil images."


@hookspec
def register_augmentations(register: Register) -> None:
    "Factories `(*, options)` of functions `augment(images, rng) -> images` that vary what trains, before any corruption."


@hookspec
def register_datasets(register: Register) -> None:
    "Factories `(*, options)` of data sets with `load(split)` and maybe `labels(split)`."


@hookspec
def register_readers(register: Register) -> None:
    "Factories `(path, *, options)` of data sets in files, with the attribute `endings` and maybe `writer(path)`."


@hookspec
def register_layouts(register: Register) -> None:
    "Factories `(*, options)` of functions `(bundle, out)` that write a bundle in another form: `export --layout NAME`."


@hookspec
def register_providers(register: Register) -> None:
    "Factories `(*, options)` of runtimes with `open(path, threads=, batch=)` that run an ONNX graph."


@hookspec
def register_commands(cli: click.Group) -> None:
    "Add click commands to `aepipe` with `cli.add_command` or `@cli.command()`."


@hookspec
def run_started(run: RunReport) -> None:
    "Called before a run trains, and again where it is resumed, with `run.directory`, `run.configuration`, `run.history`."


@hookspec
def epoch_finished(run: EpochReport) -> None:
    "Called after every epoch with `run.epoch`, `run.metrics`, `run.directory`; setting `run.stop = True` ends training."


@hookspec
def run_finished(run: RunReport) -> None:
    "Called when a run is complete, with its densities and with `run.configuration['metrics']`."


@hookspec
def exported(bundle: BundleReport) -> None:
    "Called when a bundle is in its place, with `bundle.directory`, `bundle.manifest` and `bundle.run`."
