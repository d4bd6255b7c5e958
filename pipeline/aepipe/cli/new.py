"""`aepipe plugins new`."""

from __future__ import annotations

import click


@click.command(epilog="Example: aepipe plugins new wavelet")
@click.argument("name")
def new(name: str) -> None:
    """Write a new plugin to start from: ./aepipe-NAME.

    A complete distribution with an encoder, a decoder, a density, tests and a README, ready to be installed and trained.
    """
    from aepipe.plugins.scaffold import new_plugin

    folder = new_plugin(name)
    short = folder.name.removeprefix("aepipe-")
    click.echo(f"{folder} is written; next:", err=True)
    for command in (
        f"python -m pip install -e './{folder}[test]'",
        f"python -m pytest {folder}",
        f"aepipe train --data digits --encoder {short} --decoder {short} --density {short} --epochs 2 -o runs/{short}",
        f"aepipe export runs/{short}",
    ):
        click.echo(f"  {command}", err=True)
