"""The tasks of `aepipe infer`: from an input of any size to OUT, with the figures that a person wants to see."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

import numpy as np

from aepipe import figures, plugins
from aepipe._types import Array
from aepipe.errors import BadInput
from aepipe.files.out import output_kind
from aepipe.images.batches import Batch
from aepipe.images.corruption import spoiled
from aepipe.judging import anomaly
from aepipe.judging.metrics import psnr, psnr_between
from aepipe.progress import progress, say
from aepipe.runtime.interpolation import PATHS, path_density
from aepipe.runtime.model import Model

from . import tiles
from .shards import Shard, drawn, part_of, place
from .streams import SHEET, Input, collect, done, first_of, image_writer, stream, table

IMAGE_OUTPUTS = ("png", "folder", "npy", "npz")


def reconstruct(model: Model, given: Input, out: str, *, tile: bool, overlap: int | None) -> None:
    """Images to codes and back; with `tile` at their own size."""
    kind, out = place(out, IMAGE_OUTPUTS, given.shard)
    if tile:
        tiles.open_whole(model, given, kind, overlap)
        tiles.restore_input(model, given, out, kind, overlap=overlap)
        return
    given.open("encoder", "decoder")
    if kind != "png":
        stream(given, out, kind, "reconstructing", lambda batch: model.reconstruct_batch(batch.images), model.shape)
        return
    note = given.for_sheet()
    clean, restored = collect(given, "reconstructing", lambda batch: model.reconstruct_batch(batch.images))
    if given.source.single_file:
        figures.save(tiles.picture(restored[0]), out)
    else:
        mse = float(np.square(clean - restored).mean())
        subtitle = f"{_what(given, model)} · MSE {mse:.5f} · PSNR {psnr(mse):.2f} dB"
        rows = [("original", clean), ("reconstruction", restored)]
        figures.save(figures.rows(rows, title=f"Reconstruction by {model.bundle.name}", subtitle=subtitle), out)
    done(out, len(restored), note=note)


def denoise(
    model: Model, given: Input, out: str, *, corrupt: str | None, seed: int, tile: bool, overlap: int | None
) -> None:
    """Restore spoiled images, with `tile` at their own size; with `corrupt`, spoil them first and show before and after."""
    kind, out = place(out, IMAGE_OUTPUTS, given.shard)
    spoil = plugins.create("corruption", corrupt) if corrupt else None
    if tile:
        tiles.open_whole(model, given, kind, overlap)
    else:
        given.open("encoder", "decoder")
    if model.bundle.task != "denoise":
        say(f"note: {model.bundle.name} was trained to reconstruct; train with --corrupt for a denoiser")
    if tile:
        tiles.restore_input(model, given, out, kind, overlap=overlap, spoil=spoil, seed=seed)
        return

    def before(batch: Batch) -> Array:
        return spoiled(spoil, batch.images, batch.indices, seed) if spoil else batch.images

    if kind != "png":
        stream(given, out, kind, "denoising", lambda batch: model.reconstruct_batch(before(batch)), model.shape)
        return
    note = given.for_sheet()

    def both(batch: Batch) -> Array:
        images = before(batch)
        return np.stack([images, model.reconstruct_batch(images)], 1)

    clean, pair = collect(given, "denoising", both)
    if given.source.single_file and spoil is None:
        figures.save(tiles.picture(pair[0, 1]), out)
    else:
        title, subtitle = f"Restoration by {model.bundle.name}", _what(given, model)
        rows = [("input", clean), ("restored", pair[:, 1])]
        if spoil is not None:
            damage, rest = (psnr_between(pair[:, k], clean) for k in (0, 1))
            rows = [("clean", clean), ("spoiled", pair[:, 0]), ("restored", pair[:, 1])]
            subtitle += f" · {corrupt} · PSNR {damage:.2f} dB spoiled, {rest:.2f} dB restored"
        figures.save(figures.rows(rows, title=title, subtitle=subtitle), out)
    done(out, len(clean), note=note)


def interpolate(
    model: Model,
    first: Input,
    second: Input | None,
    out: str,
    *,
    pairs: int,
    steps: int,
    path: str,
    density: str | None,
) -> None:
    """Lines through the latent space between pairs of images."""
    if first.shard is not None:
        raise BadInput(
            "an interpolation is made in one piece, not in shards", "leave out --shard; --pairs says how many"
        )
    kind, out = place(out, IMAGE_OUTPUTS, None)
    through = path_density(model.bundle, path, density)
    for each in (first, second) if second else (first,):
        each.open("encoder", "decoder")
    a, b = _ends(first, second, pairs)
    lines = model.interpolate(a, b, steps, path, through)
    if kind == "png":
        labels = [f"{alpha:.2f}" for alpha in np.linspace(0, 1, steps)]
        title = f"Interpolation by {model.bundle.name}"
        way = PATHS[path] + (f" {through}" if through else "")
        subtitle = f"{_what(first, model)} · decoded: {way}, from 0 to 1"
        figures.save(figures.strips(lines, title=title, subtitle=subtitle, column_labels=labels), out)
    else:
        flat = lines.reshape(-1, *model.shape) if kind == "folder" else lines
        names = lambda index: f"pair-{index // steps:03d}/step-{index % steps:03d}.png"  # noqa: E731
        with image_writer(out, kind, names, flat.shape[1:]) as write:
            write(np.arange(len(flat)), flat)
    done(out, len(lines), "strips", note="" if len(lines) == pairs else ": the images give no more")


def _ends(first: Input, second: Input | None, pairs: int) -> tuple[Array, Array]:
    """The ends of the strips: neighbours of one input, or images of two inputs, where a single image serves for all."""
    if second is None:
        images = first.first(2 * pairs)
        if len(images) < 2:
            raise BadInput(f"{first.source.name} has one image, and an interpolation needs two", "give a second INPUT")
        return images[: len(images) // 2 * 2 : 2], images[1::2]
    a, b = first.first(pairs), second.first(pairs)
    count = max(len(a), len(b)) if 1 in (len(a), len(b)) else min(len(a), len(b))
    return a[np.arange(count) % len(a)], b[np.arange(count) % len(b)]


def sample(model: Model, out: str, *, count: int, density: str | None, seed: int, shard: Shard | None = None) -> None:
    """New images: codes drawn from a density, decoded."""
    kind, out = place(out, IMAGE_OUTPUTS, shard)
    name = model.bundle.density_name(density)
    model.start("decoder")
    if kind == "png":
        images = model.sample(count, name, seed)
        subtitle = f"density {name} · d = {model.latent} · seed {seed}"
        figures.save(figures.sheet(images, title=f"Samples from {model.bundle.name}", subtitle=subtitle), out)
    else:
        part = part_of(count, shard)
        noise = drawn(seed, model.bundle.noise_features(name), part, model.batch_size)
        codes = (model.run("sample", each, name) for each in noise)
        _decoded(model, out, kind, "sampling", codes, part, "sample-{:06d}.png", shard)
        count = len(part)
    done(out, count)


def _decoded(
    model: Model, out: str, kind: str, what: str, codes: Iterable[Array], part: range, name: str, shard: Shard | None
) -> None:
    """Batches of codes, which belong to the indices of `part`, to images."""
    start = part.start
    with (
        image_writer(out, kind, name.format, model.shape, shard=shard) as write,
        progress(what, len(part)) as advance,
    ):
        for batch in codes:
            write(np.arange(start, start + len(batch)), model.decode_batch(batch))
            start += len(batch)
            advance(len(batch))


def encode(model: Model, given: Input, out: str) -> None:
    """Images to codes: .npy, .npz or .csv."""
    kind, out = place(out, ("npy", "npz", "csv"), given.shard)
    given.open("encoder")
    compute = model.encode_batch
    if kind != "csv":
        stream(given, out, kind, "encoding", lambda batch: compute(batch.images), (model.latent,), key="codes")
        return
    columns = [f"z{k}" for k in range(model.latent)]

    def rows(batch: Batch) -> dict[str, Array]:
        return dict(zip(columns, compute(batch.images).T, strict=True))

    table(given, out, "encoding", columns, rows)


def decode(model: Model, codes: Array, out: str, *, limited: bool, shard: Shard | None = None) -> None:
    """Codes [N, d] to images."""
    kind, out = place(out, IMAGE_OUTPUTS, shard)
    part, note = part_of(len(codes), shard), ""
    model.check_codes(codes[:1])
    model.start("decoder")
    if kind == "png":
        total, part = len(codes), part if limited else part[:SHEET]
        codes, note = codes[: len(part)], first_of(len(part), total)
        title, subtitle = f"Codes decoded by {model.bundle.name}", f"d = {model.latent}"
        figures.save(figures.sheet(model.decode(codes), title=title, subtitle=subtitle), out)
    else:
        starts = part[:: model.batch_size]
        read = (model.check_codes(codes[k : min(k + model.batch_size, part.stop)]) for k in starts)
        _decoded(model, out, kind, "decoding", read, part, "{:06d}.png", shard)
    done(out, len(part), note=note)


def score(model: Model, given: Input, out: str, *, density: str | None, calibration: str | None) -> None:
    """Reconstruction error and log-density of every image, as a table; with a calibration also how anomalous it is."""
    _, out = place(out, ("csv",), given.shard)
    scale = anomaly.read(calibration, model, density) if calibration else None
    name = scale.density if scale else model.bundle.density_name(density)
    given.open("encoder", "decoder")
    columns = ["error", "log_density", *(["anomaly", "alarm"] if scale else [])]

    def rows(batch: Batch) -> dict[str, Array]:
        scores = model.score_batch(batch.images, name)
        return scores | scale.judge(scores) if scale else scores

    table(given, out, "scoring", columns, rows)


def calibrate(model: Model, given: Input, out: str, *, density: str | None, false_alarm: float) -> None:
    """What scores normal images have, as JSON, and where alarm begins."""
    check_output(out, given.shard)
    anomaly.check_rate(false_alarm)
    name = model.bundle.density_name(density)
    given.open("encoder", "decoder")
    parts = [model.score_batch(batch.images, name) for batch in given.read("scoring")]
    scores = {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}
    anomaly.calibration(model, name, scores, false_alarm, given.source.name).save(out)
    done(out, len(scores["error"]), note=f", alarm at a false-alarm rate of {false_alarm:g}")


def _what(given: Input, model: Model) -> str:
    """What a figure is of, for its subtitle."""
    return f"{PurePath(given.source.name).name} · d = {model.latent}"


def check_output(out: str, shard: Shard | None) -> None:
    """Raises BadInput where OUT is no JSON file that can be written, or where only a part would be learned from."""
    if shard is not None:
        raise BadInput("a calibration is made in one piece, not in shards", "leave out --shard; --limit says how many")
    if PurePath(out).suffix.lower() != ".json":
        raise BadInput(f"the output {out!r} cannot hold a calibration", "give a file that ends with .json")
    output_kind(out, ("json",))
