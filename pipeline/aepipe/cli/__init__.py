"""The command line: click, one file a stage, each stage imported when its command runs.

Errors become one sentence and one hint here and nowhere else; any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any

import click

from .. import __version__
from ..components import ANY, Plugin
from ..errors import AepipeError
from ..plugins import registry

INTERRUPTED = 130


class Commands(click.Group):
    """A group that suggests the closest command for a misspelt one, those of its own groups included."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"there is no command {args[0]!r}; {self._closest(ctx, args[0])}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our output has gone, on purpose: click would call that a failure
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    def _closest(self, ctx: click.Context, name: str) -> str:
        from difflib import get_close_matches

        groups = {group: command for group, command in self.commands.items() if isinstance(command, click.Group)}
        inner = {task: f"{group} {task}" for group, command in groups.items() for task in command.commands}
        near = get_close_matches(name, [*self.commands, *inner], n=1)
        suggestion = f"did you mean '{ctx.command_path} {inner.get(near[0], near[0])}'? " if near else ""
        return f"{suggestion}known: {', '.join(self.list_commands(ctx))}"


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: aepipe demo. Each command explains itself: aepipe train --help",
)
@click.version_option(__version__, prog_name="aepipe")
def cli() -> None:
    """Train an autoencoder, export it to ONNX with a density on its codes, run it anywhere."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 failed, 2 usage or bad input, 3 parity, 4 provider."""
    try:
        _add_commands()
        return int(cli.main(arguments, prog_name="aepipe", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except AepipeError as error:
        return _report(error)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED


def _report(error: AepipeError) -> int:
    if os.environ.get("AEPIPE_DEBUG"):
        raise error
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    return error.exit_code


@cache
def _add_commands() -> None:
    """Once a process: aepipe's own commands, then the plugins'; one that takes a name in use or raises is noted and left out."""
    from . import benchmark, evaluate, explore, export, infer, look, train

    for command in (train.train, train.fit_density, export.export, infer.infer, evaluate.evaluate, benchmark.benchmark):
        cli.add_command(command)
    cli.add_command(explore.explore)
    for command in (look.inspect, look.list_components, look.plugins, look.doctor):
        cli.add_command(command)
    for plugin, function in registry().implementations("register_commands"):
        _add_from(plugin, function)


def _add_from(plugin: Plugin, function: Any) -> None:
    added = click.Group()
    try:
        function(added)
    except ANY as error:
        plugin.fail("register_commands raised", error)
    for name, command in added.commands.items():
        if name in cli.commands:
            plugin.errors.append(f"command {name!r} exists already and stays as it is")
        else:
            cli.add_command(command, name)
            plugin.components.append(f"command:{name}")
