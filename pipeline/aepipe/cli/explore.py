"""`aepipe explore`."""

from __future__ import annotations

import click


@click.command(
    epilog="""\b
Examples:
  aepipe explore exported/mnist-d8 --images mnist -o mnist.html
  aepipe explore exported/mnist-d8 --cdn -o small.html
  aepipe explore exported/denoiser --images photo.jpg -o denoiser.html"""
)
@click.argument("bundle")
@click.option("-o", "--out", required=True, metavar="OUT", help="The page, an .html file.")
@click.option(
    "--images",
    metavar="SPEC|PATH",
    help="Images to take along, the first 64, or one to restore (default: a few decoded codes, or none).",
)
@click.option("--cdn", is_flag=True, help="A small page, which loads onnxruntime-web from jsdelivr.net when opened.")
@click.option("--runtime", metavar="FOLDER", help="An unpacked onnxruntime-web to put in, where there is no network.")
def explore(bundle: str, out: str, images: str | None, cdn: bool, runtime: str | None) -> None:
    """Write a page to play with what a BUNDLE does.

    One HTML file that runs the bundle in a browser, from the disk and without a network: a map of the training codes to
    move on, samples, images of one's own, noise and interpolation. A bundle of images of any size, or whose code is a map,
    gets a page that restores pictures of any size and shows them before and after. onnxruntime-web is fetched once and kept
    in the cache.
    """
    import sys
    from pathlib import Path

    from aepipe.explore.page import write_explorer
    from aepipe.progress import say

    size = write_explorer(bundle, out, images=images, cdn=cdn, runtime=runtime)
    needs = "it needs a network when it is opened" if cdn else "it needs no network"
    opener = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
    say(f"{out}: {size / 1e6:.1f} MB, {needs}")
    say(f"open it in a browser: {Path(out).resolve().as_uri()}, or: {opener} {out}")
