"""`aepipe infer`: tasks on a bundle, aepipe's own and those of plugins, through ONNX Runtime alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import click

from aepipe.errors import BadInput
from aepipe.plugins import Component, choose, registry
from aepipe.plugins.specs import Spec

from .commands import Commands
from .options import Count, clip_option, data_options, runtime_options, shard_option

READ = ("split", "limit", "skip_bad", "layout", "clip")  # how an input is read
SHARED = ("provider", "precision", "batch_size", "threads", "shard", *READ)


class Tasks(Commands):
    """The tasks of aepipe, and those of plugins, which are looked up when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*self.commands, *_of_plugins(self.commands)])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.commands:
            return self.commands[name]
        component = _of_plugins(self.commands).get(name)
        return None if component is None else _plugin_task(component)


def _of_plugins(taken: Collection[str]) -> dict[str, Component]:
    """Tasks of plugins by name. One that cannot be a command is left out, and `aepipe plugins` says why."""
    own = registry()
    found = {}
    for name in own.names("task"):
        component = own.find("task", name)
        used = sorted({option.name for option in component.options} & {*SHARED, "bundle", "input", "out", "help"})
        error = f"task {name!r} exists already and stays as it is" if name in taken else ""
        if used:
            error = f"task {name!r} has the option {used[0]!r}, which all tasks have"
        if not error:
            found[name] = component
            continue
        for plugin in own.plugins:
            if f"task:{name}" in plugin.components and error not in plugin.errors:
                plugin.errors.append(error)
    return found


def _plugin_task(component: Component) -> click.Command:
    """A task of a plugin as a command, with an option for each of its factory."""

    def run(model: Any, reading: Any, /, out: str, *, input: str, **options: Any) -> None:
        from aepipe.infer.plugin_tasks import run_task

        given = {name: value for name, value in options.items() if value is not None}
        run_task(choose("task", Spec(component.name, given)), model, reading, out, input=input)

    for option in reversed(component.options):
        dashed, flag = option.name.replace("_", "-"), option.type is bool
        default = "" if option.required else f"  [default: {str(option.default).lower() if flag else option.default}]"
        run = click.option(
            f"--{dashed}/--no-{dashed}" if flag else f"--{dashed}",
            option.name,
            default=None,
            required=option.required,
            metavar=None if flag else option.type_name.upper(),
            help=f"{option.help}{default}",
        )(run)
    run = click.argument("input")(run)
    run.__name__, run.__doc__ = component.name, f"{component.help}\n\nA task of {component.plugin}."
    return as_task(run, f"aepipe infer {component.name} exported/mnist-d8 mnist -o OUT", ("shard",))


@click.group(
    cls=Tasks,
    epilog="""\b
Examples:
  aepipe infer reconstruct exported/mnist-d8 mnist --limit 64 -o out.png
  aepipe infer --provider cuda encode exported/mnist-d8 photos/ -o codes.npy
  aepipe infer score --help""",
)
@runtime_options
@data_options
@clip_option
@shard_option
@click.pass_context
def infer(ctx: click.Context, **shared: Any) -> None:
    """Use a BUNDLE: reconstruct, denoise, sample, score and more.

    INPUT is a data set (its test split), a folder of images, an image file, .npy, .npz or IDX.

    The ending of OUT says what is written: .png or .jpg a contact sheet (for one image file: that image), a folder one PNG
    per input, .npy and .npz arrays, .csv a table. The options below may be given before the task or after it.

    A job to a folder that was stopped continues with the same command; --skip-bad may be added.
    """
    ctx.obj = shared


def task(example: str, without: Sequence[str] = ()) -> Callable[[Callable[..., Any]], click.Command]:
    """A task of `infer`: the shared options, and a model and a reading made of them.

    `without` names shared options that mean nothing to the task: they are refused, before the task and after it.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        command = as_task(function, example, without)
        infer.add_command(command)
        return command

    return decorate


def as_task(function: Callable[..., Any], example: str, without: Sequence[str]) -> click.Command:
    """The command of a task."""
    out = click.option("-o", "--out", required=True, metavar="OUT", help="Where the result goes, by its ending.")
    wrapped = data_options(clip_option(runtime_options(shard_option(out(_with_model(function, without))))))
    wrapped = click.argument("bundle")(wrapped)
    name, epilog = function.__name__, f"\b\nExample:\n  {example}"
    command = click.command(name, help=function.__doc__, epilog=epilog)(wrapped)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name in without:
            parameter.hidden = True
    return command


def _with_model(function: Callable[..., Any], without: Sequence[str]) -> Callable[..., Any]:
    @click.pass_context
    def invoke(ctx: click.Context, /, bundle: str, **options: Any) -> None:
        from aepipe.infer.streams import Reading
        from aepipe.runtime.model import BATCH, load

        shared = {name: options.pop(name) or ctx.obj.get(name) for name in SHARED}
        _check_meaning(ctx, shared, without)
        settings = {"threads": shared["threads"], "batch_size": shared["batch_size"] or BATCH}
        precision = shared["precision"] or "fp32"
        reading = Reading(shard=shared["shard"], **{name: shared[name] for name in READ if shared[name] is not None})
        with load(bundle, shared["provider"] or "auto", precision=precision, **settings) as model:
            function(model, reading, **options)

    for parameter in getattr(function, "__click_params__", []):
        invoke.__click_params__ = [*getattr(invoke, "__click_params__", []), parameter]  # type: ignore[attr-defined]
    return invoke


def _check_meaning(ctx: click.Context, shared: dict[str, Any], without: Sequence[str]) -> None:
    """Refuse shared options that mean nothing to the task, wherever they stand."""
    for name in without:
        if shared[name]:
            option = f"--{name.replace('_', '-')}"
            raise BadInput(f"{option} means nothing to {ctx.command.name}", f"leave out {option}")


def tile_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Images at their own size."""
    for option in (
        click.option("--overlap", type=Count(0), help="Pixels that neighbouring tiles share (default: a quarter)."),
        click.option("--tile", is_flag=True, help="Keep image sizes: overlapping tiles, blended."),
    ):
        command = option(command)
    return command


def check_tile_options(*, tile: bool, overlap: int | None, **_: Any) -> None:
    if overlap is not None and not tile:
        raise BadInput("--overlap belongs to tiles", "add --tile")


@task("aepipe infer reconstruct exported/mnist-d8 photos/ -o restored/")
@click.argument("input")
@tile_options
def reconstruct(*given: Any, **options: Any) -> None:
    """Encode INPUT and decode it again: originals above copies."""
    from aepipe.infer import tasks

    check_tile_options(**options)
    tasks.reconstruct(*given, **options)


@task("aepipe infer denoise exported/denoiser mnist --limit 16 --corrupt gaussian:sigma=0.5 -o out.png")
@click.argument("input")
@click.option("--corrupt", metavar="SPEC", help="Spoil the input first, and show before and after.")
@click.option("--seed", type=Count(0), help="Seed of the corruption (default: 0).")
@tile_options
def denoise(*given: Any, seed: int | None, **options: Any) -> None:
    """Restore INPUT by a bundle that was trained on spoiled images.

    Image files are cropped and resized to the model. With --tile, or by a model that takes any size, they keep their size,
    and a grey model restores each channel by itself: a photo gives OUT.png or OUT.jpg of that photo, a folder of mixed sizes
    a folder of the same.
    """
    from aepipe.infer import tasks

    check_tile_options(**options)
    if seed is not None and options["corrupt"] is None:
        raise BadInput("--seed belongs to a corruption", "add --corrupt SPEC")
    tasks.denoise(*given, seed=seed or 0, **options)


@task("aepipe infer interpolate exported/mnist-d8 mnist -o strips.png --pairs 6 --steps 12")
@click.argument("input")
@click.argument("input2", required=False)
@click.option("--pairs", default=6, show_default=True, type=Count(1), help="How many strips.")
@click.option("--steps", default=12, show_default=True, type=Count(2), help="Images on a strip, ends included.")
@click.option(
    "--path", type=click.Choice(["linear", "slerp", "density"]), default="linear", show_default=True, help="See above."
)
@click.option("--density", metavar="NAME", help="For --path density (default: the last one with an inverse).")
def interpolate(*given: Any, **options: Any) -> None:
    """Straight lines or arcs between images in the latent space.

    Each image of INPUT is joined to its neighbour, or to an image of INPUT2; one image on one side serves for all.

    --path slerp is an arc about the mean code, --path density an arc in the noise of a density, where samples lie.
    """
    from aepipe.infer import tasks

    tasks.interpolate(*given, **options)


@task(
    "aepipe infer sample exported/mnist-d8 -o samples.png --count 64 --density pca --seed 1",
    READ,
)
@click.option("--count", default=64, show_default=True, type=Count(1), help="How many images.")
@click.option("--density", metavar="NAME", help="Which density of the bundle (default: its first).")
@click.option("--label", type=Count(0), metavar="N", help="Of this class alone (default: as often as in training).")
@click.option("--seed", default=0, show_default=True, type=Count(0), help="The same seed gives the same images.")
def sample(*given: Any, **options: Any) -> None:
    """Draw codes from a density and decode them.

    --label is for a density that is told a class, such as gmm:by_class=true; by default the first such one is taken.
    """
    from aepipe.infer import tasks

    tasks.sample(*given, **options)


@task("aepipe infer encode exported/mnist-d8 photos/ -o codes.npy")
@click.argument("input")
@click.option(
    "--code-dtype",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    show_default=True,
    help="How codes are stored; int8 in .npz alone.",
)
def encode(*given: Any, **options: Any) -> None:
    """Codes of INPUT, as .npy, .npz or .csv (- is stdout).

    --code-dtype float16 takes half the bytes, int8 a quarter: whole numbers, with a scale and an offset for each channel of a
    map, or each number of a vector. The last line says how much the codes, and what is decoded of them, lose by it.
    """
    from aepipe.infer import tasks

    tasks.encode(*given, **options)


@task("aepipe infer decode exported/mnist-d8 codes.npy -o images/", tuple(name for name in READ if name != "limit"))
@click.argument("codes")
def decode(*given: Any, **options: Any) -> None:
    """Images of CODES, a .npy or .npz file of encode.

    Codes are [N, d], or maps [N, c, …], of any --code-dtype.
    """
    from aepipe.infer import tasks

    tasks.decode(*given, **options)


@task("aepipe infer score exported/mnist-d8 photos/ -o scores.csv")
@click.argument("input", required=False)
@click.option("--density", metavar="NAME", help="Which density of the bundle (default: its first).")
@click.option("--label", type=Count(0), metavar="N", help="Log-density given this class (default: of all classes).")
@click.option("--calibrate", metavar="SPEC", help="Learn from normal images what is usual: OUT.json, and no INPUT.")
@click.option("--false-alarm", type=float, metavar="RATE", help="Normal images that may alarm (default: 0.05).")
@click.option("--calibration", metavar="FILE.json", help="Add the columns anomaly and alarm by what --calibrate wrote.")
def score(
    *given: Any,
    input: str | None,
    calibrate: str | None,
    false_alarm: float | None,
    calibration: str | None,
    **options: Any,
) -> None:
    """Reconstruction error, log-density and alarms of images.

    OUT is .csv, or - for stdout: index, path where INPUT has files, mean squared error per pixel, log-density of the code.
    Alarms need two runs: --calibrate NORMAL -o usual.json, then INPUT --calibration usual.json -o scores.csv.
    """
    from aepipe.infer import tasks

    if calibrate is None:
        if false_alarm is not None:
            raise BadInput("--false-alarm belongs to a calibration", "give it with --calibrate SPEC")
        if input is None:
            raise BadInput("the INPUT is missing", "give images to score, or --calibrate SPEC")
        if calibration is not None and options["label"] is not None:
            raise BadInput("a calibration is of all classes together", "leave out --label or --calibration")
        tasks.score(*given, input=input, calibration=calibration, **options)
        return
    if input is not None or calibration is not None:
        other = "an INPUT" if input is not None else "--calibration"
        raise BadInput(f"{other} beside --calibrate", "calibrate first, then score with --calibration in a second run")
    if options.pop("label") is not None:
        raise BadInput("a calibration is of all classes together", "leave out --label")
    rate = 0.05 if false_alarm is None else false_alarm
    tasks.calibrate(*given, input=calibrate, false_alarm=rate, **options)


@infer.command(epilog="\b\nExample:\n  aepipe infer join codes.npy")
@click.argument("out")
@click.pass_context
def join(ctx: click.Context, out: str) -> None:
    """Make OUT of the parts that its shards wrote.

    `--shard 3/8 -o codes.npy` writes codes.3-of-8.npy; from all eight parts this writes what one run would have written.
    OUT is .npy, .npz or .csv; a folder needs no joining.
    """
    _check_meaning(ctx, ctx.obj, SHARED)
    from aepipe.infer import shards
    from aepipe.progress import say

    say(f"{out}: {shards.join(out)} parts joined")
