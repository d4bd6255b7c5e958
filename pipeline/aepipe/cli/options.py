"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from aepipe.errors import BadInput

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")


class Count(click.ParamType):
    """A whole number that is `least` or more; help texts call it N."""

    name = "n"

    def __init__(self, least: int):
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = int(value)
        except ValueError:
            number = self.least - 1
        if number < self.least:
            self.fail(f"{value!r} is not a whole number of {self.least} or more", param, ctx)
        return number


def was_given(ctx: click.Context, name: str) -> bool:
    """Whether the user gave this option, on the command line or in a file of --config, and be it with its default value."""
    source = click.core.ParameterSource
    return ctx.get_parameter_source(name) in (source.COMMANDLINE, source.DEFAULT_MAP)


def check_effect(ctx: click.Context, name: str, has_effect: object, belongs: str, way_out: str) -> None:
    """Refuse an option that was given and has no effect: its user expects one. `belongs` says to what the option belongs."""
    if was_given(ctx, name) and not has_effect:
        option = next(each.opts[0] for each in ctx.command.params if each.name == name)
        raise BadInput(f"{option} belongs to {belongs}", way_out)


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which images of the input are read."""
    for option in (
        click.option("--layout", metavar="AXES", help="How the axes of an array stand, e.g. NCL, NHWC, NDHW."),
        click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read, and count them."),
        click.option("--limit", type=Count(1), help="Only the first N images."),
        click.option("--split", type=click.Choice(["train", "test"]), help="Which split, where the data has splits."),
    ):
        command = option(command)
    return command


clip_option = click.option(
    "--clip", is_flag=True, help="Values outside the range of a model of raw values become its nearer end."
)


class ShardText(click.ParamType):
    """I/N: part I of N."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from aepipe.infer.shards import Shard

        number, slash, of = str(value).partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            self.fail(f"{value!r} is not a shard: write I/N, such as 3/8, where I is from 1 to N", param, ctx)
        return Shard(int(number), int(of))


shard_option = click.option(
    "--shard", type=ShardText(), help="Only part I of N, e.g. 3/8: one job on many machines; see 'infer join'."
)


def runtime_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how the graphs are run."""
    for option in (
        click.option("--threads", type=Count(1), help="CPU threads of one graph (default: all cores)."),
        click.option("--batch-size", type=Count(1), help="Images computed at once (default: 64)."),
        click.option(
            "--precision", metavar="NAME", help="fp32 (the default), or another that the bundle was exported in."
        ),
        click.option("--provider", metavar="SPEC", help="auto (the default), cpu, cuda, cuda:device_id=1, …"),
    ):
        command = option(command)
    return command


class ImageSize(click.ParamType):
    """A number for square images, or HEIGHTxWIDTH."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        parts = [value] if isinstance(value, int) else str(value).lower().split("x")
        try:
            sizes = tuple(int(part) for part in parts)
        except ValueError:
            sizes = ()
        if len(sizes) not in (1, 2) or min(sizes) < 1:
            self.fail(f"{value!r} is not a size: write 64 or 48x64", param, ctx)
        return sizes[0] if len(sizes) == 1 else list(sizes)


def read_config(ctx: click.Context, param: click.Parameter, path: str | None) -> str | None:
    """Use the entries of a TOML file as defaults; options on the command line override them."""
    if path is None:
        return None
    import tomllib
    from pathlib import Path

    from aepipe.errors import closest
    from aepipe.files.regular import read_regular

    try:
        entries = tomllib.loads(read_regular(Path(path)).decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path} cannot be read as TOML: {error}", "write lines such as epochs = 25") from None
    known = {long.lstrip("-"): each for each in ctx.command.params for long in each.opts if long.startswith("--")}
    defaults = {}
    for key, value in entries.items():
        option = known.get(key.replace("_", "-"))
        if option is None:
            message = f"{path} has an entry {key!r} that {ctx.command.name} does not know"
            raise BadInput(message, closest(key, list(known)))
        defaults[option.name] = _as_on_command_line(f"{path}: {key}", option, value)
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return path


def _as_on_command_line(what: str, option: click.Parameter, value: Any) -> Any:
    """A TOML value as click takes it. Numbers become text, so that 2.5 epochs are refused as on the command line."""
    if getattr(option, "is_flag", False):
        if isinstance(value, bool):
            return value
        raise BadInput(f"{what} = {value!r} is not true or false", f"write {option.name} = true")
    several = value if isinstance(value, list) and option.multiple else [value]
    if any(isinstance(each, bool) or not isinstance(each, (str, int, float)) for each in several):
        raise BadInput(f"{what} = {value!r} is not a value of --{option.name}", "write a number or a text in quotes")
    return [str(each) for each in several] if option.multiple else str(value)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout; numbers that JSON does not have (NaN, infinity) become null."""
    import json

    click.echo(json.dumps(_finite(value), indent=2, default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
