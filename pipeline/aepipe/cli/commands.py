"""Commands as they are typed: a group that suggests the closest one, and paths behind a command."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any

import click


def typed(path: object) -> str:
    """A path as it can be typed into a shell, behind a command."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


class Commands(click.Group):
    """A group that suggests the closest command for a misspelt one; it also knows the commands of its subgroups."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"there is no command {args[0]!r}; {self._closest(ctx, args[0])}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever reads our output has stopped on purpose; click would exit with 1
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    def _closest(self, ctx: click.Context, name: str) -> str:
        from difflib import get_close_matches

        groups = {group: command for group, command in self.commands.items() if isinstance(command, click.Group)}
        inner = {task: f"{group} {task}" for group, command in groups.items() for task in command.commands}
        near = get_close_matches(name, [*self.commands, *inner], n=1)
        suggestion = f"did you mean '{ctx.command_path} {inner.get(near[0], near[0])}'? " if near else ""
        return f"{suggestion}known: {', '.join(self.list_commands(ctx))}"
