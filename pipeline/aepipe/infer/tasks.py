"""The tasks of `aepipe infer`: from an input of any size to OUT, with the figures that a person wants to see.

Each takes the model, how inputs are read, and OUT as the user wrote it. It looks at OUT first, opens the input, and streams
the result: bad input is met before any work, and nothing is half written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from aepipe import figures, plugins
from aepipe._types import Array
from aepipe.bundle.manifest import Role
from aepipe.errors import BadInput
from aepipe.files.out import check_apart, output_kind
from aepipe.images.batches import Batch, in_parts
from aepipe.images.code_files import CodeType, load_codes
from aepipe.images.corruption import corruption, spoiled
from aepipe.images.pixels import picture
from aepipe.images.readers import written_endings
from aepipe.images.source import Source, file_state
from aepipe.images.taken import printable
from aepipe.judging import anomaly
from aepipe.judging.metrics import normalised, psnr_between, snr
from aepipe.progress import progress, say
from aepipe.runtime.interpolation import PATHS, path_density
from aepipe.runtime.labels import checked_labels
from aepipe.runtime.model import Model, between

from . import tiles
from .code_writer import CodeWriter
from .jobs import Job, made_of
from .shards import Out, drawn, part_of, place
from .streams import SHEET, Input, Reading, collect, done, first_of, image_writer, stream, table

IMAGE_OUTPUTS = ("png", "folder", "npy", "npz")


def _place(model: Model, out: str, reading: Reading, *, given: bool = False) -> Out:
    """OUT for samples; raises BadInput where they are no images and OUT is a folder, which holds PNG files. Where an input is
    `given`, its form may be that of the files, which is known when it is open."""
    to = place(out, (*IMAGE_OUTPUTS, *(ending[1:] for ending in written_endings())), reading.shard)
    if to.kind == "folder" and model.space.kind != "image" and not given:
        raise BadInput(
            f"{model.space.kind}s are no image files", "give a file that ends with .npy or .npz, or .png for a figure"
        )
    return to


def reconstruct(model: Model, reading: Reading, out: str, *, input: str, tile: bool, overlap: int | None) -> None:
    """Images to codes and back; with `tile` at their own size."""
    to = _place(model, out, reading, given=True)
    check_apart(out, input)
    if tile:
        given = tiles.open_whole(model, reading, input, to, overlap)
        tiles.restore_input(model, given, to, overlap=overlap)
        return
    given = reading.open(input, model, "encoder", "decoder")
    if to.kind != "png":
        stream(
            given, to, "reconstructing", lambda batch: model.reconstruct_batch(batch.images), model.shape, raw=model.raw
        )
        return
    note = given.for_sheet()
    clean, restored = collect(given, "reconstructing", lambda batch: model.reconstruct_batch(batch.images))
    if given.source.single_file:
        figures.save(picture(restored[0]), to.path)
    else:
        mse = float(np.square(clean - restored, dtype=np.float64).mean())
        subtitle = f"{_what(given, model)} · MSE {mse:.5g} · {_quality(model, restored, clean)}"
        rows, title = [("original", clean), ("reconstruction", restored)], f"Reconstruction by {model.bundle.name}"
        figures.save(figures.rows(rows, title=title, subtitle=subtitle, bounded=model.bounded), to.path)
    done(to, len(restored), note=note)


def denoise(
    model: Model,
    reading: Reading,
    out: str,
    *,
    input: str,
    corrupt: str | None,
    seed: int,
    tile: bool,
    overlap: int | None,
) -> None:
    """Restore spoiled images, with `tile` at their own size; with `corrupt`, spoil them first and show before and after."""
    to = _place(model, out, reading, given=True)
    check_apart(out, input)
    spoil = corruption(corrupt, bounded=model.bounded) if corrupt else None
    if tile:
        given = tiles.open_whole(model, reading, input, to, overlap)
        _say_what_it_learned(model)
        tiles.restore_input(model, given, to, overlap=overlap, spoil=spoil, seed=seed, corruption=_settled(corrupt))
        return
    given = reading.open(input, model, "encoder", "decoder")
    _say_what_it_learned(model)

    spoiling = {"corrupt": _settled(corrupt), "seed": seed}

    def before(batch: Batch) -> Array:
        return spoiled(spoil, batch.images, batch.indices, seed) if spoil else batch.images

    if to.kind != "png":
        restored = lambda batch: model.reconstruct_batch(before(batch))  # noqa: E731
        stream(given, to, "denoising", restored, model.shape, options=spoiling, raw=model.raw)
        return
    note = given.for_sheet()

    def both(batch: Batch) -> Array:
        images = before(batch)
        return np.stack([images, model.reconstruct_batch(images)], 1)

    clean, pair = collect(given, "denoising", both)
    if given.source.single_file and spoil is None:
        figures.save(picture(pair[0, 1]), to.path)
    else:
        title, subtitle = f"Restoration by {model.bundle.name}", _what(given, model)
        rows = [("input", clean), ("restored", pair[:, 1])]
        if spoil is not None:
            damage, rest = (_quality(model, pair[:, k], clean) for k in (0, 1))
            rows = [("clean", clean), ("spoiled", pair[:, 0]), ("restored", pair[:, 1])]
            subtitle += f" · {corrupt} · {damage} spoiled, {rest} restored"
        figures.save(figures.rows(rows, title=title, subtitle=subtitle, bounded=model.bounded), to.path)
    done(to, len(clean), note=note)


def _quality(model: Model, samples: Array, clean: Array) -> str:
    """How near samples come to clean ones: PSNR, or SNR of unbounded values."""
    if model.bounded:
        return f"PSNR {psnr_between(samples, clean):.2f} dB"
    mse = float(np.square(samples - clean, dtype=np.float64).mean())
    return f"SNR {snr(normalised(mse, float(clean.astype(np.float64).var()))):.2f} dB"


def _settled(corrupt: str | None) -> dict[str, Any] | None:
    """A corruption with every option, as a record."""
    return plugins.choose("corruption", corrupt).record() if corrupt else None


def _say_what_it_learned(model: Model) -> None:
    if model.bundle.task != "denoise":
        say(f"note: {model.bundle.name} was trained to reconstruct; train with --corrupt for a denoiser")


def interpolate(
    model: Model,
    reading: Reading,
    out: str,
    *,
    input: str,
    input2: str | None,
    pairs: int,
    steps: int,
    path: str,
    density: str | None,
) -> None:
    """Lines through the latent space between pairs of images, `steps` on each: of one input, or of two."""
    if reading.shard is not None:
        message = "an interpolation is made in one piece, not in shards"
        raise BadInput(message, "leave out --shard; --pairs says how many")
    to = _place(model, out, reading)
    check_apart(out, input, input2)
    through = path_density(model.bundle, path, density)
    first, *more = reading.open_all([input, input2] if input2 else [input], model, "encoder", "decoder")
    second = more[0] if more else None
    a, b = _ends(first, second, pairs)
    codes = between(model, model.encode_batch(a), model.encode_batch(b), steps, path, through)
    parts = in_parts(codes.reshape(-1, *codes.shape[2:]), model.batch_size)
    flat = np.concatenate([model.decode_batch(part) for part in parts])
    lines = flat.reshape(len(a), steps, *flat.shape[1:])
    if to.kind == "png":
        labels = [f"{alpha:.2f}" for alpha in np.linspace(0, 1, steps)]
        title = f"Interpolation by {model.bundle.name}"
        way = PATHS[path] + (f" {through}" if through else "")
        subtitle = f"{_what(first, model)} · decoded: {way}, from 0 to 1"
        drawn = figures.strips(lines, title=title, subtitle=subtitle, column_labels=labels, bounded=model.bounded)
        figures.save(drawn, to.path)
    else:
        made = flat if to.kind == "folder" else lines
        names = lambda index: f"pair-{index // steps:03d}/step-{index % steps:03d}.png"  # noqa: E731
        with image_writer(to, names, made.shape[1:], raw=model.raw) as write:
            write(np.arange(len(made)), made)
    done(to, len(lines), "strips", note="" if len(lines) == pairs else ": the images give no more")


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


def sample(
    model: Model, reading: Reading, out: str, *, count: int, density: str | None, seed: int, label: int | None = None
) -> None:
    """New images: codes drawn from a density, decoded; of a density that is told a class, with that label, or with each as often
    as the training images have it."""
    to = _place(model, out, reading)
    name = model.bundle.density_name(density, labelled=label is not None)
    if to.kind == "png":
        model.require_room(count)
    labels = model.labels(name, count, seed, label)
    model.start("decoder")
    if labels is not None and label is None:
        say("note: labels are drawn as often as the training data have them; --label N draws one alone")
    if to.kind == "png":
        images = np.concatenate(list(model.sample_batches(count, name, seed, label)))
        told = "" if labels is None else f" · label {label}" if label is not None else " · labels as trained"
        subtitle = f"density {name}{told} · d = {model.latent} · seed {seed}"
        title = f"Samples from {model.bundle.name}"
        figures.save(figures.sheet(images, title=title, subtitle=subtitle, bounded=model.bounded), to.path)
    else:
        part = part_of(count, reading.shard)
        noise = drawn(seed, model.bundle.noise_features(name), part, model.batch_size)
        own = lambda rows: None if labels is None else labels[rows.start : rows.stop]  # noqa: E731
        codes = lambda batch, rows: model.run("sample", batch, name, own(rows))  # noqa: E731
        wanted = {} if label is None else {"label": label}
        job = _job(model, to, "sampling", part, {"seed": seed, "density": name, **wanted})
        _decoded(model, to, job, "sampling", noise, codes, "sample-{:06d}.png")
        count = len(part)
    done(to, count)


def _job(model: Model, to: Out, task: str, part: range, options: dict[str, Any], given: str = "") -> Job:
    """A job that has no images as input."""
    if to.kind != "folder":
        return Job(part, model.batch_size)
    return Job(part, model.batch_size, made_of=made_of(model, task, given, part, options))


def _decoded(
    model: Model,
    to: Out,
    job: Job,
    what: str,
    batches: Iterable[Array],
    codes: Callable[[Array, range], Array],
    name: str,
) -> None:
    """To images: the codes that `codes` makes of batches and of the indices that they belong to, in the job's part."""
    start = job.part.start
    with (
        image_writer(to, name.format, model.shape, job=job, raw=model.raw) as write,
        progress(what, job.left) as advance,
    ):
        for batch in batches:
            if job.lacks(start):
                rows = range(start, start + len(batch))
                write(np.array(rows), model.decode_batch(codes(batch, rows)))
                advance(len(batch))
            start += len(batch)


def encode(model: Model, reading: Reading, out: str, *, input: str, code_dtype: CodeType) -> None:
    """Images to codes: .npy, .npz or .csv; the last line says what another type than float32 costs."""
    to = place(out, ("npy", "npz", "csv"), reading.shard)
    _check_code_dtype(code_dtype, to, reading)
    check_apart(out, input)
    judges: tuple[Role, ...] = () if code_dtype == "float32" else ("decoder",)  # by which the cost is measured
    given = reading.open(input, model, "encoder", *judges)
    if to.kind != "csv":
        _encode_arrays(model, given, to, code_dtype)
        return
    if model.latent.spatial:
        raise BadInput(f"codes of {model.latent} are no rows of a table", "give a file that ends with .npy or .npz")
    columns = [f"z{k}" for k in range(model.latent)]

    def rows(batch: Batch) -> dict[str, Array]:
        return dict(zip(columns, model.encode_batch(batch.images).T, strict=True))

    table(given, to, "encoding", columns, rows)


def _check_code_dtype(code_dtype: CodeType, to: Out, reading: Reading) -> None:
    """Raise BadInput where codes of this type cannot be written to OUT."""
    if code_dtype == "float32":
        return
    if to.kind == "csv":
        message = f"a table holds decimal numbers, and no {code_dtype} codes"
        raise BadInput(message, "give a file that ends with .npz, or leave out --code-dtype")
    if code_dtype == "int8" and to.kind != "npz":
        raise BadInput("int8 codes need their scales beside them", "give a file that ends with .npz")
    if code_dtype == "int8" and reading.shard is not None:
        message = "the scales of int8 codes follow from all codes, of which a shard knows a part"
        raise BadInput(message, "leave out --shard, or take --code-dtype float16")


def _encode_arrays(model: Model, given: Input, to: Out, code_dtype: CodeType) -> None:
    first: list[tuple[Array, Array]] = []

    def compute(batch: Batch) -> Array:
        codes = model.encode_batch(batch.images)
        if not first:
            first.append((batch.images, codes))
        return codes

    writer = CodeWriter(to.path, model.latent.shape, code_dtype)

    def cost() -> str:
        if code_dtype == "float32" or not first:
            return ""
        images, codes = first[0]
        before, after = (_error(model, images, each) for each in (codes, writer.stored(codes)))
        errors = f"MSE {before:.6g} with float32 codes and {after:.6g} with these, of the first {len(images)}"
        return f"; {code_dtype} {writer.difference}; {errors}"

    stream(given, to, "encoding", compute, model.latent.shape, array=writer, note=cost)


def _error(model: Model, images: Array, codes: Array) -> float:
    """The mean squared error of what is decoded of these codes of images."""
    return float(np.square(model.restored_batch(images, codes) - images, dtype=np.float64).mean())


def decode(model: Model, reading: Reading, out: str, *, codes: str) -> None:
    """Codes [N, *latent.shape], in a file, of float32, float16 or packed as int8, to images."""
    to = _place(model, out, reading)
    stored = load_codes(codes, reading.limit)
    check_apart(out, codes)
    part, note = part_of(len(stored), reading.shard), ""
    model.check_codes(stored.floats(slice(1)))
    model.start("decoder")
    say(printable(f"input: {codes}, {len(stored)} {stored.codes.dtype} codes of {model.latent} numbers"))
    if to.kind == "png":
        total, part = len(stored), part if reading.limit is not None else part[:SHEET]
        note = first_of(len(part), total)
        title, subtitle = f"Codes decoded by {model.bundle.name}", f"d = {model.latent}"
        parts = in_parts(model.check_codes(stored.floats(slice(len(part)))), model.batch_size)
        images = np.concatenate([model.decode_batch(each) for each in parts])
        figures.save(figures.sheet(images, title=title, subtitle=subtitle, bounded=model.bounded), to.path)
    else:
        job = _job(model, to, "decoding", part, {}, file_state(Path(codes)))
        rows = (slice(start, min(start + model.batch_size, part.stop)) for start in part[:: model.batch_size])
        read = (np.ascontiguousarray(stored.floats(each)) for each in rows)
        checked = lambda batch, _: model.check_codes(batch)  # noqa: E731
        _decoded(model, to, job, "decoding", read, checked, "{:06d}.png")
    done(to, len(part), note=note)


def score(
    model: Model,
    reading: Reading,
    out: str,
    *,
    input: str,
    density: str | None,
    calibration: str | None,
    label: int | None = None,
) -> None:
    """Reconstruction error and log-density of every image, as a table; with a calibration also how anomalous it is. A density that
    is told a class scores for that label, or for all classes together."""
    to = place(out, ("csv",), reading.shard)
    check_apart(out, input, calibration)
    scale = anomaly.read(calibration, model, density) if calibration else None
    name = scale.density if scale else scored_by(model, density, labelled=label is not None)
    if label is not None:
        if name is None:
            raise BadInput(
                f"{model.bundle.name} gives no log-densities, of which --label could be", "leave out --label"
            )
        checked_labels(model.bundle, "log_prob", name, label, 1)
    given = reading.open(input, model, "encoder", "decoder")
    columns = ["error", *(["log_density"] if name else []), *(["anomaly", "alarm"] if scale else [])]
    others = 0

    def rows(batch: Batch) -> dict[str, Array]:
        nonlocal others
        scores = model.score_batch(batch.images, name, label)
        others += anomaly.without_density(scores)
        if scale and others:
            raise anomaly.other_size(model, str(scale.density), "leave out --calibration")
        return scores | scale.judge(scores) if scale else scores

    table(given, to, "scoring", columns, rows)
    if others and name:
        say(f"note: {others} have no log_density: {anomaly.other_size(model, name).message}")


def scored_by(model: Model, density: str | None, *, labelled: bool = False) -> str | None:
    """The density of the log-densities, one that is told a class if it is to be `labelled`; None where no density of the bundle
    gives any, which is said."""
    bundle = model.bundle
    if density is None and labelled:
        density = next((each for each in bundle.densities if bundle.takes_label("log_prob", each)), None)
    name = bundle.scoring(density)
    if name is None:
        lacking = "density" if not bundle.densities else f"density with log_prob ({', '.join(bundle.densities)})"
        say(f"note: {bundle.name} has no {lacking}, so that there is the error alone")
    elif bundle.find("log_prob", name).discrete:
        say(f"note: {name} gives logarithms of probabilities, which no density of another kind can be compared with")
    return name


def calibrate(model: Model, reading: Reading, out: str, *, input: str, density: str | None, false_alarm: float) -> None:
    """What scores normal images have, as JSON, and where alarm begins."""
    if reading.shard is not None:
        raise BadInput("a calibration is made in one piece, not in shards", "leave out --shard; --limit says how many")
    if PurePath(out).suffix.lower() != ".json":
        raise BadInput(f"the output {out!r} cannot hold a calibration", "give a file that ends with .json")
    to = Out(out, output_kind(out, ("json",)))
    check_apart(out, input)
    anomaly.check_rate(false_alarm)
    name = scored_by(model, density)
    given = reading.open(input, model, "encoder", "decoder")
    if _trained_on(model, given.source):
        say("warning: these images trained the bundle, and new ones have larger errors: alarms will be too frequent")
    parts = [model.score_batch(batch.images, name) for batch in given.read("scoring")]
    scores = {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}
    anomaly.calibration(model, name, scores, false_alarm, given.source.name).save(out)
    done(to, len(scores["error"]), note=f", alarm at a false-alarm rate of {false_alarm:g}")


def _trained_on(model: Model, source: Source) -> bool:
    """Whether images are those of the training, as far as their name and split tell."""
    name = source.name if source.dataset is not None else PurePath(source.name).name
    return source.taken.split in (None, "train") and name == model.bundle.trained.get("data")


def _what(given: Input, model: Model) -> str:
    """What a figure is of, for its subtitle."""
    return f"{PurePath(given.source.name).name} · d = {model.latent}"
