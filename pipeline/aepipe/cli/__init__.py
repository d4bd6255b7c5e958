"""The command line, made with click: one file for each stage, which is imported when its command runs.

Only here errors are printed, as one sentence and one hint. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import click

from aepipe._version import __version__
from aepipe.errors import DEBUG, AepipeError, command_line
from aepipe.plugins import Plugin, registry
from aepipe.progress import say

from .commands import Commands

INTERRUPTED = 130


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: aepipe demo. Each command explains itself: aepipe train --help",
)
@click.version_option(__version__, prog_name="aepipe")
def cli() -> None:
    """Train an autoencoder, export it to ONNX with a density on its codes, run it anywhere."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 failed, 2 usage or bad input, 3 parity, 4 provider, 130 interrupted."""
    with command_line():
        return _run(arguments)


def _run(arguments: list[str] | None) -> int:
    try:
        _add_commands()
        return int(cli.main(arguments, prog_name="aepipe", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except AepipeError as error:
        return _report(error)
    except MemoryError as error:
        return _report(AepipeError("there is not enough memory", "try a smaller --batch-size, or --limit"), error)
    except OSError as error:
        return _report(_of_the_system(error), error)
    except (KeyboardInterrupt, click.Abort) as error:
        say("interrupted")
        first = error.__cause__ or error.__context__ or error  # click makes an Abort of what ended it
        return getattr(first, "exit_code", INTERRUPTED)


def _of_the_system(error: OSError) -> AepipeError:
    """An error of a file that no stage has named: a folder that is closed, a disk that is full."""
    what = f"{error.filename}: " if error.filename else ""
    return AepipeError(f"{what}{error.strerror or error}", f"check the place and its permissions; {DEBUG}")


def _report(error: AepipeError, cause: BaseException | None = None) -> int:
    if os.environ.get("AEPIPE_DEBUG"):
        raise error from cause
    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")
    return error.exit_code


@cache
def _add_commands() -> None:
    """Add aepipe's own commands and then the plugins', once per process; a plugin's command with a used name is left out."""
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
    with plugin.noting("register_commands raised"):
        function(added)
    for name, command in added.commands.items():
        if name in cli.commands:
            plugin.errors.append(f"command {name!r} exists already and stays as it is")
        else:
            cli.add_command(command, name)
            plugin.components.append(f"command:{name}")
