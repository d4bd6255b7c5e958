"""`aepipe benchmark`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from aepipe.tables import print_table
from aepipe.workshop import entry

from .options import Count, json_option, print_json


class AsTyped(click.Command):
    """A command that keeps how it was typed, so that a report can say how to repeat it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["typed"] = shlex.join([*ctx.command_path.split(), *args])
        return super().parse_args(ctx, args)


@click.command(
    cls=AsTyped,
    epilog="""\b
Examples:
  aepipe benchmark exported/mnist-d8 --provider cpu --batch-size 1 --batch-size 64
  aepipe benchmark exported/mnist-d8 --torch runs/mnist-d8 --markdown speed.md""",
)
@click.argument("bundles", metavar="BUNDLE…", nargs=-1, required=True)
@click.option(
    "--provider",
    "providers",
    multiple=True,
    metavar="SPEC",
    help="May be repeated.  [default: cpu, and cuda where it starts]",
)
@click.option(
    "--precision", "precisions", multiple=True, metavar="NAME", help="May be repeated.  [default: all of the bundle's]"
)
@click.option(
    "--batch-size", "batch_sizes", multiple=True, type=Count(1), help="May be repeated.  [default: 1, 8, 64, 256]"
)
@click.option("--torch", "run", metavar="RUN", help="Measure the run in PyTorch too, eager and compiled.")
@click.option("--threads", type=Count(1), help="CPU threads of one graph (default: all cores).")
@click.option("--rounds", default=3, show_default=True, type=Count(1), help="How many turns each candidate has.")
@click.option(
    "--seconds",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.05),
    metavar="S",
    help="How long each figure is measured, in all rounds together.",
)
@click.option("--markdown", "page", metavar="FILE", help="Write tables, machine and versions as Markdown.")
@json_option
@click.pass_context
def benchmark(
    ctx: click.Context,
    bundles: tuple[str, ...],
    batch_sizes: tuple[int, ...],
    page: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Throughput, latency and memory of bundles, side by side.

    encode, decode and reconstruct are timed for every provider, precision and batch size, each in its own process. The
    processes warm up and then take turns. Several bundles are compared with each other.
    """
    from aepipe.benchmark.compare import BATCHES, compare
    from aepipe.benchmark.report import machine, markdown, versions
    from aepipe.files.out import check_writable
    from aepipe.files.staged import replacing
    from aepipe.progress import say

    if page:
        check_writable(page, folder=False)
    if options["run"]:
        entry.open_run(options["run"])  # if torch is missing, this says how to install it
    found = compare(_labels(bundles), batch_sizes=batch_sizes or BATCHES, **options)
    for reason in found.left_out:
        say(reason)
    if page:
        title = f"Speed of {', '.join(_labels(bundles))}"
        with replacing(page) as temporary:
            temporary.write_text(markdown(title, ctx.meta["typed"], found.rows, found.left_out), encoding="utf-8")
    if as_json:
        facts = {"command": ctx.meta["typed"], "versions": versions(), "machine": machine()}
        print_json({"bundles": _labels(bundles), **facts, "rows": found.rows, "left_out": found.left_out})
    else:
        _print(found.rows)


def _labels(bundles: tuple[str, ...]) -> dict[str, str]:
    """Map a name to each folder: the folder's own name, or its whole path if two have the same name."""
    names = [Path(bundle).resolve().name for bundle in bundles]
    return {bundle if names.count(name) > 1 else name: bundle for name, bundle in zip(names, bundles, strict=True)}


def _print(rows: list[dict[str, Any]]) -> None:
    from aepipe.benchmark.report import COLUMNS, cells

    several = len({row["bundle"] for row in rows}) > 1
    names = [*(["bundle"] if several else []), "provider", "precision", "batch", "task"]
    print_table([*names, *COLUMNS.values()], [[*(str(row[name]) for name in names), *cells(row)] for row in rows])
