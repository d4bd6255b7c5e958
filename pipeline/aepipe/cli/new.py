"""`aepipe plugins new`."""

from __future__ import annotations

import click


@click.command(epilog="Example: aepipe plugins new wavelet --kind encoder --kind decoder")
@click.argument("name")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="What it is to hold: encoder, decoder, objective, optimiser, density, corruption, augmentation, dataset, reader, task, "
    "layout, provider, command or callback; may be given several times.  [default: encoder, decoder, density]",
)
def new(name: str, kinds: tuple[str, ...]) -> None:
    """Write a new plugin to start from: ./aepipe-NAME.

    A complete distribution with tests and a README, ready to be installed and used.
    """
    from aepipe.plugins.scaffold import USUAL, new_plugin

    folder, commands = new_plugin(name, kinds=kinds or USUAL)
    click.echo(f"{folder} is written; next:", err=True)
    for command in (f"python -m pip install -e './{folder}[test]'", f"python -m pytest {folder}", *commands):
        click.echo(f"  {command}", err=True)
