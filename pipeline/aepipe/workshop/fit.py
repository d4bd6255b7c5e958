"""Training from the outside: `fit` starts a run, `resume` continues one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from aepipe import plugins
from aepipe._version import __version__
from aepipe.arguments import code_size, sides, whole
from aepipe.errors import AepipeError, BadInput, closest
from aepipe.files.locks import locked
from aepipe.files.ours import OwnFolder, remove_files
from aepipe.files.out import as_path, check_apart, output_kind
from aepipe.files.staged import remove_leftovers, writing
from aepipe.images.data import check_asked, open_images, plain
from aepipe.images.source import Source
from aepipe.progress import say
from aepipe.space import Size
from aepipe.workshop.run import Run
from aepipe.workshop.training.device import choose_device
from aepipe.workshop.training.loop import train
from aepipe.workshop.training.model import build, settled_code
from aepipe.workshop.training.optimiser import make_optimiser
from aepipe.workshop.training.recipe import Recipe
from aepipe.workshop.training.run import LOCK, choose_densities
from aepipe.workshop.training.surroundings import ordinary_settings
from aepipe.workshop.training.team import team, together
from aepipe.workshop.training.training_data import TrainingData, collect

DENSITIES = ("gaussian", "pca")  # unless the code is as large as the sample


@together
@ordinary_settings()
def fit(
    images: Any,
    *,
    encoder: str = "conv",
    decoder: str = "deconv",
    objective: str = "mse",
    optimiser: str = "adam",
    latent_dim: int | str | Sequence[int] = 8,
    corrupt: str | None = None,
    densities: str | Sequence[str] | None = None,
    out: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    image_size: Any = None,
    channels: int | None = None,
    layout: str | None = None,
    range: Any = None,
    skip_bad: bool = False,
    overwrite: bool = False,
    show: bool = True,
    **recipe: Any,
) -> Run:
    """Train an autoencoder and fit densities to its codes.

    `images` is a data string, a path or an array, a list of paths or of Pillow images, an open file, or a data set of torch
    whose items are images or (image, label). `layout` says how the axes of an array stand (NCL, NHWC, NDHW, …) where that
    is not plain. `split` is "train" by default, and refused where the data have no splits. Values are uint8, or floats in
    0..1, unless `range` says what they are: "LO..HI" or a pair of numbers, "dtype", "auto", or "none" for unbounded data.
    `latent_dim` is a number, or the shape of a code that is a map: "4x16x16" or (4, 16, 16), or "image" for one as large as
    the sample. `densities` are gaussian and pca by default, and none where the code is as large as the sample. `recipe`
    takes epochs, batch_size, lr, schedule, warmup (steps, or a share of all below 1), clip (the largest norm of a gradient),
    ema (the decay of an average of the weights, which is then validated, kept and exported), patience, precision, device,
    seed. Returns the finished run, kept in `out` (default runs/NAME, with a number after it where that is taken). Under
    torchrun every process calls it, and they train together. Raises BadInput for unusable images or options,
    AepipeError when the loss becomes NaN.
    """
    settings = _recipe(recipe)
    wanted_code = code_size(latent_dim)
    limit = None if limit is None else whole("the limit", limit, 1)
    channels = None if channels is None else whole("the number of channels", channels, 1)
    image_size, skip_bad = sides(image_size), bool(skip_bad)
    device = choose_device(settings.device)
    settings = settings.settled(device)
    components = _components(encoder, decoder, objective, optimiser, corrupt)
    asked = {"image_size": image_size, "channels": channels, "layout": layout, "range": range}
    chosen = choose_densities(DENSITIES if densities is None else densities)
    for choice in chosen if wanted_code and densities is not None else ():
        choice.make(wanted_code)  # refuses values that it cannot take, before anything is read
    source = open_images(images, split=split or "train", limit=limit, **asked)
    check_asked(split, layout, source)
    if show:
        say(source.describe())
    with torch.random.fork_rng():
        latent = settled_code(wanted_code, components["encoder"], source.shape)
    wanted = [] if densities is None and latent.shape == source.shape else chosen
    place = as_path(out) if out else default_directory(source.name, encoder, latent)
    check_apart(place, images if isinstance(images, str | Path) else None)
    team().from_first(lambda: _check_free(place, overwrite) if out else None)
    with torch.random.fork_rng():  # what cannot be built is refused before a million images are read
        trial = build(components, source.shape, latent, 0.0, 1.0)
        if trainable := [(name, each) for name, each in trial.named_parameters() if each.requires_grad]:
            make_optimiser(components["optimiser"], trainable, settings.lr)
        del trial, trainable
        wanted = _possible(wanted, latent, asked_for=densities is not None, show=show)
    data = _collect(source, settings, components, skip_bad, show)
    facts = {"spec": source.name, "split": split or "train", "limit": plain(limit)}
    facts |= {"image_size": plain(image_size), "channels": plain(channels)}
    facts |= {"dataset": source.dataset, "layout": layout, "raw": source.raw, "dtype": source.dtype.name}
    config = {
        "aepipe": __version__,
        "torch": torch.__version__,
        "finished": False,
        "shape": list(source.shape),
        "latent": latent.record,
        "data": {**facts, "skip_bad": bool(skip_bad), **data.facts()},
        "components": components,
        "densities_wanted": [{**choice.record(), "label": choice.label} for choice in wanted],
        "recipe": asdict(settings),
    }
    with ExitStack() as held:
        begin = partial(_begin, place, config, held, overwrite) if out else partial(_begin_anew, place, config, held)
        return _train(team().from_first(begin), data, settings, show)


@together
@ordinary_settings()
def resume(
    directory: str | Path,
    images: Any = None,
    *,
    epochs: int | None = None,
    device: str | None = None,
    show: bool = True,
) -> Run:
    """Continue a run that was killed or stopped; on the CPU it ends bit for bit where the uninterrupted run ends.

    `images` is needed only for a run that was trained on an array. `epochs` extends a run with a constant schedule, or
    ends an unfinished one earlier. A finished run is returned as it is.
    """
    run = team().from_first(lambda: Run(directory))
    saved = run.recipe
    settings = replace(saved, epochs=saved.epochs if epochs is None else epochs, device=device or saved.device)
    if run.finished and (epochs is None or epochs <= run.config["metrics"]["epochs"]):
        further = "" if saved.has_length else "; --epochs N trains it further"
        say(f"the run {directory} is finished{further}")
        if (run.directory / LOCK).exists():  # a training that was killed when it had finished may have left it
            with suppress(AepipeError), run.alone():
                pass
        return run
    if settings.epochs > saved.epochs and saved.has_length:
        hint = "train a new run with more --epochs"
        if saved.schedule == "constant":
            raise BadInput(f"a warm-up of {saved.warmup:g} of the steps is that of {saved.epochs} epochs", hint)
        raise BadInput(f"a {saved.schedule} schedule ends with its last epoch, {saved.epochs}", hint)
    facts = run.config["data"]
    if facts["spec"] == "array" and images is None:
        hint = "from Python: aepipe.resume(run, images)"
        raise BadInput(f"the run {directory} was trained on an array, which it does not hold", hint)
    _check_installed(run.config)
    where = {key: facts[key] for key in ("split", "image_size", "channels", "limit")}
    where |= {"layout": facts.get("layout"), "raw": run.raw}
    source = open_images(facts["spec"] if images is None else images, **where)
    data = _collect(source, settings, run.config["components"], facts["skip_bad"], show)
    if data.fingerprint != facts["fingerprint"]:
        raise BadInput(
            f"{facts['spec']} has changed since the run {directory} began", "train a new run on the new images"
        )
    with ExitStack() as held:
        return _train(team().from_first(lambda: _reopen(run, settings, held)), data, settings, show)


def _train(run: Run, data: TrainingData, settings: Recipe, show: bool) -> Run:
    """Train; a KeyboardInterrupt carries, as `run`, the folder from which the training can go on."""
    try:
        return train(run, data, settings, show)
    except KeyboardInterrupt as error:
        error.run = run.directory  # type: ignore[attr-defined]
        raise


def _reopen(run: Run, settings: Recipe, held: ExitStack) -> Run:
    held.enter_context(run.alone())
    if not settings.has_length:
        run.update(recipe=asdict(settings))
    if run.finished:  # if an early stop ended the run, that stop does not count any more
        run.update(finished=False, extended_at=run.config["metrics"]["epochs"])
    remove_leftovers(run.directory, deep=True)
    return run


def _possible(choices: list[plugins.Choice], latent: Size, *, asked_for: bool, show: bool) -> list[plugins.Choice]:
    """Those densities that can be made for codes of this size. One that cannot is refused where it was asked for, else left out,
    which is said."""
    found = []
    for choice in choices:
        try:
            choice.make(latent)
        except BadInput as error:
            if asked_for:
                raise
            if show:
                say(f"note: left out: {error.message}")
            continue
        found.append(choice)
    return found


def _check_installed(config: dict[str, Any]) -> None:
    """Check, before hours of training, that every plugin is there that the run needs until its end."""
    records = [*config["components"].items(), ("dataset", config["data"]["dataset"])]
    for kind, record in records + [("density", each) for each in config["densities_wanted"]]:
        if record:
            plugins.choose(kind, record)


def _recipe(given: dict[str, Any]) -> Recipe:
    known = list(Recipe.__dataclass_fields__)
    for name in given:
        if name not in known:
            raise BadInput(f"fit has no option {name!r}", closest(name, known))
    return Recipe(**given)


def _components(encoder: str, decoder: str, objective: str, optimiser: str, corrupt: str | None) -> dict[str, Any]:
    """Records of what the run is made of, each option settled."""
    wanted = {"encoder": encoder, "decoder": decoder, "objective": objective, "optimiser": optimiser}
    records: dict[str, Any] = {kind: plugins.choose(kind, spec).record() for kind, spec in wanted.items()}
    corruption = plugins.choose("corruption", corrupt) if corrupt else None
    if corruption:
        corruption.make()  # refuses values that it cannot take
    return {**records, "corruption": corruption.record() if corruption else None}


def default_directory(data: str, encoder: str, latent: Size) -> Path:
    """runs/mnist-conv-d8 and the like."""
    stem = Path(data.partition(":")[0].partition("[")[0]).name.partition(".")[0] or "images"
    size = "x".join(map(str, latent.shape))
    return Path("runs") / f"{stem}-{encoder.partition(':')[0]}-d{size}"


def _run_folder(directory: Path) -> OwnFolder:
    """A folder for a run, whose run.json says what in it is ours."""
    return OwnFolder(directory, "run", lambda folder: Run(folder).files)


def _check_free(directory: Path, overwrite: bool) -> None:
    if not directory.exists():
        output_kind(f"{directory}/", ("folder",))  # refuses a place that cannot be written
    elif _run_folder(directory).check() and not overwrite:
        way_out = f"continue it with 'aepipe train --resume {directory}', or replace it with --overwrite"
        raise BadInput(f"the run {directory} exists", way_out)


def _begin(directory: Path, config: dict[str, Any], held: ExitStack, overwrite: bool) -> Run:
    """Start a run, where an old one may lie. Of that, what makes it a run goes last, so that a kill leaves one.

    While `held` is open, no other process trains in this folder.
    """
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    held.enter_context(locked(directory / LOCK, f"the run {directory}"))
    _check_free(directory, overwrite)  # another training may have begun, and ended, since the first look
    if _run_folder(directory).check():
        with writing(directory):
            remove_files(directory, Run(directory).files)
    if directory.exists():
        remove_leftovers(directory, deep=True)
    return Run.create(directory, config)


def _begin_anew(wanted: Path, config: dict[str, Any], held: ExitStack) -> Run:
    """Start a run in the first folder of that name, or of that name with a number, that is not there; making it is the claim."""
    for number in count(1):
        directory = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with writing(directory):
            directory.parent.mkdir(parents=True, exist_ok=True)
            try:
                directory.mkdir()
            except FileExistsError:
                continue
        if number > 1:
            say(f"{wanted} exists: this run is {directory}")
        return _begin(directory, config, held, overwrite=False)
    raise AssertionError


def _collect(source: Source, recipe: Recipe, components: dict[str, Any], skip_bad: bool, show: bool) -> TrainingData:
    device = choose_device(recipe.device)
    on_cpu = components["corruption"] is not None
    return collect(source, device=device, on_cpu=on_cpu, seed=recipe.seed, skip_bad=skip_bad, show=show)
