"""The commands that ship with aepipe and are registered like those of any other plugin."""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_commands(cli):
    from pathlib import Path

    import click

    @cli.command(epilog="Example: aepipe demo -o demo")
    @click.option("-o", "--out", default="demo", show_default=True, metavar="FOLDER", help="Where figures and page go.")
    @click.option(
        "--epochs", default=45, show_default=True, metavar="N", type=click.IntRange(1), help="Epochs of each training."
    )
    def demo(out: str, epochs: int) -> None:
        """The whole story on real digits, in about two minutes."""
        from aepipe.workshop.entry import training_extra

        with training_extra():
            from aepipe.demo.story import tell
        tell(Path(out), epochs=epochs)
