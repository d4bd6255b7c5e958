"""Training from the outside: `fit` starts a run, `resume` continues one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from aepipe import plugins
from aepipe._types import Shape
from aepipe._version import __version__
from aepipe.arguments import code_size, reading, words
from aepipe.errors import AepipeError, BadInput, as_typed, closest
from aepipe.files.locks import locked
from aepipe.files.ours import OwnFolder, remove_files
from aepipe.files.out import as_path, check_apart, output_kind
from aepipe.files.staged import remove_leftovers, writing
from aepipe.images.corruption import corruption
from aepipe.images.data import check_asked, open_images, plain
from aepipe.images.labels import class_count, class_labels, lacking
from aepipe.images.source import Source
from aepipe.plugins.calling import takes
from aepipe.progress import say
from aepipe.space import Size, is_bounded
from aepipe.workshop.run import Run
from aepipe.workshop.training.augmentation import Augmentations
from aepipe.workshop.training.device import choose_device
from aepipe.workshop.training.loop import train
from aepipe.workshop.training.model import build, own_code, settled_code
from aepipe.workshop.training.optimiser import make_optimiser
from aepipe.workshop.training.own import is_own, own_modules, record_of_module
from aepipe.workshop.training.recipe import Recipe
from aepipe.workshop.training.run import LOCK, choose_densities, require_labels
from aepipe.workshop.training.surroundings import ordinary_settings
from aepipe.workshop.training.team import team, together
from aepipe.workshop.training.training_data import TrainingData, collect

DENSITIES = ("gaussian", "pca")  # unless the code is as large as the sample


@together
@ordinary_settings()
def fit(
    images: Any,
    *,
    encoder: str | nn.Module = "conv",
    decoder: str | nn.Module = "deconv",
    objective: str = "mse",
    optimiser: str = "adam",
    latent_dim: int | str | Sequence[int] | None = None,
    corrupt: str | None = None,
    augment: str | Sequence[str] = (),
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
    or a DataLoader of one whose items are images or (image, label). `layout` says how the axes of an array stand (NCL, NHWC,
    NDHW, …) where that is not plain. `split` is "train" by default, and refused where the data have no splits. Values are
    uint8, or floats in 0..1, unless `range` says what they are: "LO..HI" or a pair of numbers, "dtype", "auto", or "none" for
    unbounded data. `augment` are augmentations by spec, which vary what trains, in their order and before the corruption:
    ["crop:size=64", "flip"]. With a crop, images need not have one size.

    `encoder` and `decoder` are spec strings of plugins, or torch modules of your own: the encoder takes standardised samples
    float32 [N, C, *sides] and gives features [N, d] or maps, the decoder goes back. Copies of them are trained, from the
    weights that they have; yours stay as they are, and `Run.model()` has the trained ones. The run holds their weights, not
    their code: `Run(path, encoder=…)` and `resume` take them again. A bundle needs neither.

    `latent_dim` is a number (by default 8, or what an encoder of your own makes), or the shape of a code that is a map:
    "4x16x16" or (4, 16, 16), or "image" for one as large as the sample. `densities` are gaussian and pca by default, and
    none where the code is as large as the sample. `recipe` takes epochs, batch_size, lr, schedule, warmup (steps, or a share
    of all below 1), clip (the largest norm of a gradient), ema (the decay of an average of the weights, which is then
    validated, kept and exported), patience, precision, device, seed. Returns the finished run, kept in `out` (default
    runs/NAME, with a number after it where that is taken). Under torchrun every process calls it, and they train together.

    Raises BadInput for unusable images, modules or options, AepipeError when the loss becomes NaN.
    """
    settings = _recipe(recipe)
    pair = {"encoder": encoder, "decoder": decoder}
    own = own_modules(**{kind: what for kind, what in pair.items() if not isinstance(what, str)})
    wanted_code = code_size(8 if latent_dim is None else latent_dim)
    asked = reading(limit, image_size, channels, layout, range)
    device = choose_device(settings.device)
    settings = settings.settled(device)
    components = _components({**pair, "objective": objective, "optimiser": optimiser, **own}, corrupt)
    augmentations = [_checked("augmentation", spec) for spec in words("augment", augment)]
    chosen = choose_densities(DENSITIES if densities is None else densities)
    for choice in chosen if wanted_code and densities is not None and "encoder" not in own else ():
        choice.make(wanted_code, classes=2)  # refuses values that it cannot take, before anything is read
    source = open_images(images, split=split or "train", **asked)
    check_asked(split, layout, source)
    varied = Augmentations(augmentations, bounded=is_bounded(source.raw))
    if show:
        say(source.describe(whole=source.own_sizes and varied.reshape))
    shape = _tried(source, varied, components["corruption"])
    classes = class_count(class_labels(source.labels))
    with torch.random.fork_rng():
        if "encoder" in own:
            latent = own_code(own["encoder"], components["objective"], shape, classes)
            _check_code(latent, wanted_code or Size(*shape), latent_dim)
        else:
            latent = settled_code(wanted_code, components["encoder"], shape)
    wanted = [] if densities is None and latent.shape == shape else chosen
    name = components["encoder"]["name"] if "encoder" in own else str(encoder)
    place = as_path(out) if out else default_directory(source.name, name, latent)
    check_apart(place, images if isinstance(images, str | Path) else None)
    team().from_first(lambda: _check_free(place, overwrite) if out else None)
    with torch.random.fork_rng():  # what cannot be built is refused before a million images are read
        learning = _check_built({**components, **own}, shape, latent, settings, source, classes)
        wanted, fitting = _possible(wanted, latent, source, classes, asked_for=densities is not None, show=show)
    data = _collect(source, settings, components, augmentations, bool(skip_bad), show)
    facts: dict[str, Any] = {"spec": source.name, "split": split or "train"}
    facts |= {key: plain(asked[key]) for key in ("limit", "image_size", "channels")}
    facts |= {"dataset": source.dataset, "layout": layout, "raw": source.raw, "dtype": source.dtype.name}
    facts |= {"skip_bad": bool(skip_bad)}
    config = {
        "aepipe": __version__,
        "torch": torch.__version__,
        "finished": False,
        "shape": list(shape),
        "latent": latent.record,
        "data": {**facts, **data.facts(), "labels": data.labels_digest() if learning or fitting else None},
        "components": components,
        "augmentations": augmentations,
        "densities_wanted": [{**choice.record(), "label": choice.label} for choice in wanted],
        "recipe": asdict(settings),
    }
    with ExitStack() as held:
        begin = partial(_begin, overwrite=overwrite) if out else _begin_anew
        run = team().from_first(lambda: begin(place, config, held))
        return _train(run, own, data, settings, show)


@together
@ordinary_settings()
def resume(
    directory: str | Path | Run,
    images: Any = None,
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    epochs: int | None = None,
    device: str | None = None,
    show: bool = True,
) -> Run:
    """Continue a run that was killed or stopped; on the CPU it ends bit for bit where the uninterrupted run ends.

    `directory` is that of the run, or the run. `images` is needed only for one that was trained on an array or on other
    objects of Python, `encoder` and `decoder` only where they are modules of your own. `epochs` extends a run with a constant
    schedule, or ends an unfinished one earlier. A finished run is returned as it is. Raises BadInput where the images have
    changed, or something that the run was trained with is missing.
    """
    own = own_modules(encoder=encoder, decoder=decoder)
    if isinstance(directory, Run):
        own = {**directory.own, **own}
        directory = directory.directory
    run: Run = team().from_first(lambda: Run(directory, **own))
    run.own = own
    saved = run.recipe
    settings = replace(saved, epochs=saved.epochs if epochs is None else epochs, device=device or saved.device)
    if run.finished and (epochs is None or epochs <= run.config["metrics"]["epochs"]):
        further = "" if saved.has_length else f"; {as_typed('--epochs N')} trains it further"
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
        hint = f"from Python: aepipe.resume({str(directory)!r}, images)"
        raise BadInput(f"the run {directory} was trained on an array, which it does not hold", hint)
    _check_installed(run)
    where = {key: facts[key] for key in ("split", "image_size", "channels", "limit")}
    where |= {"layout": facts.get("layout"), "raw": run.raw}
    source = open_images(facts["spec"] if images is None else images, **where)
    augmentations = run.config.get("augmentations", [])
    data = _collect(source, settings, run.config["components"], augmentations, facts["skip_bad"], show)
    if data.fingerprint != facts["fingerprint"]:
        raise BadInput(
            f"{facts['spec']} has changed since the run {directory} began", "train a new run on the new images"
        )
    if facts.get("labels") not in (None, data.labels_digest()):
        message = f"the labels of {facts['spec']} have changed since the run {directory} began"
        raise BadInput(message, "give the labels that it began with, or train a new run")
    with ExitStack() as held:
        return _train(team().from_first(lambda: _reopen(run, settings, held)), own, data, settings, show)


def _train(run: Run, own: dict[str, nn.Module], data: TrainingData, settings: Recipe, show: bool) -> Run:
    """Train; a KeyboardInterrupt carries, as `run`, the folder from which the training can go on."""
    run.own = own  # in every process of a team
    try:
        done = train(run, data, settings, show)
    except KeyboardInterrupt as error:
        error.run = run.directory  # type: ignore[attr-defined]
        raise
    done.own = own
    if own and show:
        again = f"aepipe.Run({str(done.directory)!r}, {', '.join(f'{kind}=…' for kind in own)})"
        say(
            f"note: the run holds the weights of your own modules, not their code: {again} takes them to export or resume it "
            "later; a bundle needs them no more"
        )
    return done


def _reopen(run: Run, settings: Recipe, held: ExitStack) -> Run:
    held.enter_context(run.alone())
    if not settings.has_length:
        run.update(recipe=asdict(settings))
    if run.finished:  # if an early stop ended the run, that stop does not count any more
        run.update(finished=False, extended_at=run.config["metrics"]["epochs"])
    remove_leftovers(run.directory, deep=True)
    return run


def _check_built(
    components: dict[str, Any], shape: Shape, latent: Size, settings: Recipe, source: Source, classes: int | None
) -> bool:
    """Build model and optimiser once, so that what cannot be built is refused; whether the objective learns from labels."""
    model = build(components, shape, latent, 0.0, 1.0, classes=classes)
    if trainable := [(name, each) for name, each in model.named_parameters() if each.requires_grad]:
        make_optimiser(components["optimiser"], trainable, settings.lr)
    learner, losses = plugins.choose("objective", components["objective"]), model.objective.losses
    require_labels(learner, losses, classes is not None, lacking(source))
    return takes(losses, "labels")


def _possible(
    choices: list[plugins.Choice], latent: Size, source: Source, classes: int | None, *, asked_for: bool, show: bool
) -> tuple[list[plugins.Choice], bool]:
    """Those densities that can be made for codes of this size, and whether one of them learns from labels. One that cannot be
    made is refused where it was asked for, else left out, which is said."""
    found, learning = [], False
    for choice in choices:
        try:
            density = choice.make(latent, classes=classes)
            require_labels(choice, density.fit, classes is not None, lacking(source))
        except BadInput as error:
            if asked_for:
                raise
            if show:
                say(f"note: left out: {error.message}")
            continue
        found.append(choice)
        learning = learning or takes(density.fit, "labels")
    return found, learning


def _check_installed(run: Run) -> None:
    """Check, before hours of training, that every plugin and module is there that the run needs until its end."""
    run.require_own()
    config = run.config
    records = [*config["components"].items(), ("dataset", config["data"]["dataset"])]
    records += [("augmentation", each) for each in config.get("augmentations", [])]
    for kind, record in records + [("density", each) for each in config["densities_wanted"]]:
        if record and not is_own(record):
            plugins.choose(kind, record)


def _check_code(made: Size, wanted: Size, given: Any) -> None:
    """Raise BadInput where an encoder of the user's own makes other codes than were asked for."""
    channels_alone = not wanted.spatial and wanted.shape[0] == made.shape[0]
    if given is not None and made.shape != wanted.shape and not channels_alone:
        raise BadInput(f"the encoder makes codes of {made}, and {wanted} are asked for", "leave out --latent-dim")


def _recipe(given: dict[str, Any]) -> Recipe:
    known = list(Recipe.__dataclass_fields__)
    for name in given:
        if name not in known:
            raise BadInput(f"fit has no option {name!r}", closest(name, known))
    return Recipe(**given)


def _components(wanted: dict[str, Any], corrupt: str | None) -> dict[str, Any]:
    """Records of what the run is made of, each option settled."""
    records: dict[str, Any] = {
        kind: record_of_module(what) if isinstance(what, nn.Module) else plugins.choose(kind, what).record()
        for kind, what in wanted.items()
    }
    return {**records, "corruption": _checked("corruption", corrupt) if corrupt else None}


def _checked(kind: str, spec: str) -> dict[str, Any]:
    """The record of a component whose values were tried."""
    choice = plugins.choose(kind, spec)
    choice.make()  # refuses values that it cannot take
    return choice.record()


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


def _begin(directory: Path, config: dict[str, Any], held: ExitStack, *, overwrite: bool) -> Run:
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


def _tried(source: Source, varied: Augmentations, corrupt: dict[str, Any] | None) -> Shape:
    """C, *sides of what trains. Augmentations and the corruption are tried on two grey samples, so that one which cannot take
    samples of this kind is refused before anything is read."""
    grey = varied.drawn(np.full((2, *source.shape), 0.5, np.float32), [0])
    if corrupt:
        corruption(corrupt, bounded=is_bounded(source.raw))(grey, np.random.default_rng(0))
    return grey.shape[1:]


def _collect(
    source: Source,
    recipe: Recipe,
    components: dict[str, Any],
    augmentations: list[dict[str, Any]],
    skip_bad: bool,
    show: bool,
) -> TrainingData:
    return collect(
        source,
        device=choose_device(recipe.device),
        on_cpu=bool(components["corruption"] or augmentations),
        seed=recipe.seed,
        skip_bad=skip_bad,
        show=show,
        augment=augmentations,
    )
