"""Figures hold the images that they show, and all of their text."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from aepipe import figures
from aepipe.errors import AepipeError, BadInput
from aepipe.figures.panels import COLOURS, panels
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageColor

MARGIN, GAP = 20, 4


def images(count: int, channels: int = 1, size: int = 28) -> np.ndarray:
    return np.random.default_rng(count).random((count, channels, size, size), dtype=np.float32)


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """What a cell must look like: uint8 [H·factor, W·factor, 3]."""
    grey = np.floor(image * 255 + 0.5).astype(np.uint8).repeat(factor, 1).repeat(factor, 2)
    return np.broadcast_to(grey, (3, *grey.shape[1:])).transpose(1, 2, 0)


def find(figure: Image.Image, block: np.ndarray) -> list[tuple[int, int]]:
    """Every place (row, column) at which the block stands in the figure, pixel for pixel."""
    shown = np.asarray(figure)
    height, width = block.shape[:2]
    inside = shown[: shown.shape[0] - height + 1, : shown.shape[1] - width + 1]
    starts = np.argwhere((inside == block[0, 0]).all(-1))
    return [(r, c) for r, c in starts if np.array_equal(shown[r : r + height, c : c + width], block)]


def assert_uncut(figure: Image.Image) -> None:
    shown = np.asarray(figure)
    edges = (shown[:8], shown[-8:], shown[:, :8], shown[:, -8:])
    assert all((edge == 255).all() for edge in edges), "something reaches into the margin"


def test_rows_show_each_image_enlarged_and_aligned():
    first, second = images(5), images(6)[:5]
    figure = figures.rows([("original", first), ("reconstructed", second)], title="Digits", subtitle="d = 8", columns=3)
    above, below = ([find(figure, enlarged(image, 3)) for image in array] for array in (first, second))
    assert all(len(places) == 1 for places in (*above, *below))
    above, below = np.concatenate(above), np.concatenate(below)
    assert (below - above == (84 + GAP, 0)).all()
    assert (above[[1, 2, 4]] - above[[0, 1, 3]] == (0, 84 + GAP)).all()
    assert above[3, 1] == above[0, 1] and above[3, 0] > below[0, 0] + 84 + GAP  # the second block, set apart
    assert_uncut(figure)


@pytest.mark.parametrize(("count", "columns"), [(1, 12), (3, 12), (12, 12), (13, 12)])
def test_rows_of_few_and_many(count, columns):
    figure = figures.rows([("x", images(count, size=8))], title="T", columns=columns)
    cells = min(count, columns) * (96 + GAP)
    assert cells < figure.width < cells + 2 * MARGIN + 60
    assert all(find(figure, enlarged(image, 12)) for image in images(count, size=8))


def test_rows_refuse_nothing_and_different_numbers():
    with pytest.raises(BadInput, match="no images"):
        figures.rows([("x", images(3)[:0])], title="T")
    with pytest.raises(ValueError, match="different"):
        figures.rows([("x", images(3)), ("y", images(2))], title="T")


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_channels_shown(channels):
    array = images(4, channels, 32)
    figure = figures.sheet(array, title="Samples")
    shown = array[:, :3] if channels >= 3 else array[:, :1]
    assert [len(find(figure, enlarged(image, 3))) for image in shown] == [1, 1, 1, 1]


def test_sheet_is_nearly_square_and_reduces_large_images():
    figure = figures.sheet(images(64), title="Samples")
    assert 0 <= figure.width - 2 * MARGIN - 8 * (84 + GAP) < 84 and abs(figure.width - figure.height) < 84
    large = figures.sheet(np.full((2, 3, 600, 400), 200, np.uint8), title="Large", columns=1)
    places = find(large, np.full((256, 171, 3), 200, np.uint8))
    assert len(places) == 2 and places[0][1] == places[1][1]


def test_a_huge_sheet_stays_bounded():
    figure = figures.sheet(np.zeros((6400, 1, 28, 28), np.float32), title="Many")
    assert figure.width <= 4096 + 80 * GAP + 2 * MARGIN + 2


def test_white_images_have_an_edge():
    figure = figures.sheet(np.ones((1, 1, 28, 28), np.float32), title="")
    shown = np.asarray(figure)
    assert (shown < 255).any(-1).sum() == 4 * 84 + 4


def test_long_titles_and_labels_are_never_cut():
    words = "a title that is very much wider than the single image below it and so has to be wrapped " * 3
    for title in (words, "x" * 300, "Größe × σ → α ½ 中 \n two\tlines"):
        for figure in (
            figures.sheet(images(1), title=title, subtitle=title),
            figures.rows([(title[:90], images(2))], title=title, subtitle=title),
            figures.strips(images(3)[None], title=title, column_labels=[title[:40], "0.5", "1"]),
        ):
            assert_uncut(figure)
            assert figure.width <= 640 + 2 * MARGIN + 300
    short = figures.sheet(images(1), title="One")
    assert figures.sheet(images(1), title=words).height > short.height
    assert figures.sheet(images(1), title="A little wider").width > short.width


def test_characters_without_a_glyph_are_spelled():
    def drawn(title):
        return np.asarray(figures.sheet(images(1), title=title))

    assert np.array_equal(drawn("σ = 2 × 3 → é"), drawn("sigma = 2 x 3 -> e"))


def test_strips_set_the_ends_apart_and_label_the_columns():
    array = images(10).reshape(2, 5, 1, 28, 28)
    labels = ["alpha = 0", "0.25", "0.5", "0.75", "alpha = 1"]
    figure = figures.strips(array, title="Interpolation", column_labels=labels)
    places = [[find(figure, enlarged(image, 3))[0] for image in pair] for pair in array]
    lefts = [column for _, column in places[0]]
    steps = np.diff(lefts)
    assert steps[1] == steps[2] == 84 + GAP and steps[0] == steps[3] > steps[1]
    assert lefts == [column for _, column in places[1]]
    shown, bottom = np.asarray(figure), places[1][0][0] + 84 + 2
    for left in lefts:  # a label under every column
        assert (shown[bottom:, left : left + 84] < 128).any()
    unlabelled = np.asarray(figures.strips(array, title="Interpolation"))
    assert len(unlabelled) < len(shown)
    with pytest.raises(ValueError, match="labels"):
        figures.strips(array, title="T", column_labels=["0"])
    for steps_shown in (1, 2):
        assert_uncut(figures.strips(array[:, :steps_shown], title="T"))


def test_save_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "figure.png"
    figures.save(figures.sheet(images(2), title="T"), path)
    with Image.open(path) as image:
        assert image.format == "PNG"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AepipeError, match="Cannot write"):
        figures.save(figures.sheet(images(2), title="T"), tmp_path / "file" / "figure.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "new"]


@pytest.mark.parametrize(
    "metrics",
    [
        [{"epoch": e, "loss": 20 / e, "validation_mse": 0.02 + 0.001 * abs(e - 7), "lr": 1e-3} for e in range(1, 11)],
        [{"epoch": 1, "loss": 20.0, "validation_mse": 0.05}],
        [{"epoch": 1, "validation_mse": 0.036}],
        [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": -1.0, "validation_mse": 0.03}, {"epoch": 3}],
        [{"epoch": e, "loss": 0.0, "validation_mse": 1e-6 * 10**e} for e in range(1, 60)],
    ],
)
def test_curve_draws_what_there_is(tmp_path, metrics):
    pytest.importorskip("matplotlib")
    path = tmp_path / "curve.png"
    figures.curve(metrics, path, title="Training of $a_b$ " * 8, subtitle="d = 8")
    with Image.open(path) as image:
        shown = np.asarray(image.convert("RGB")).astype(int)
        assert_uncut(image.convert("RGB"))
    panels = sum(any(key in row for row in metrics) for key in ("loss", "validation_mse"))
    assert shown.shape[1] > 500 * panels
    red = (shown[..., 0] > 150) & (shown[..., 1] < 90)  # the mark of the best epoch
    assert red.any()


def test_curve_marks_the_best_epoch_and_refuses_nothing(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.axes import Axes

    labels = []
    draw = Axes.plot

    def plot(self, *arguments, **options):
        labels.append(options.get("label"))
        return draw(self, *arguments, **options)

    monkeypatch.setattr(Axes, "plot", plot)
    rows = [{"epoch": e, "loss": 1.0, "validation_mse": v} for e, v in ((1, 0.04), (2, 0.0141), (3, 0.02))]
    figures.curve(rows, tmp_path / "c.png", title="T")
    assert "best: 0.0141 at epoch 2" in labels
    with pytest.raises(BadInput, match="neither"):
        figures.curve([{"epoch": 1}], tmp_path / "none.png", title="T")
    assert not (tmp_path / "none.png").exists()


def colours(image: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in image.reshape(-1, image.shape[-1]).tolist()}


def height_of(panel: np.ndarray, colour: str) -> np.ndarray:
    """The row of a panel [3, H, W] that comes nearest to the colour, in each column that the line passes."""
    apart = np.abs(panel.transpose(1, 2, 0).astype(int) - ImageColor.getrgb(colour)).sum(-1)
    return apart.argmin(0)[10:-10]


FINITE = st.floats(-(2.0**100), 2.0**100, width=32)
SAMPLES = array_shapes(min_dims=2, max_dims=5, max_side=4).flatmap(lambda s: arrays(np.float32, s, elements=FINITE))


@settings(deadline=None, max_examples=60)
@given(SAMPLES)
@example(np.full((1, 1), 1e30, np.float32))
@example(np.full((2, 2, 9), -3.0, np.float32))
@example(np.full((1, 1, 1), 1e-44, np.float32))
@example(np.array([[1e-44], [-1e-44]], np.float32))
def test_samples_of_every_rank_and_range_are_drawn_and_uncut(values: np.ndarray) -> None:
    for figure in (
        figures.sheet(values, title="T", bounded=False),
        figures.rows([("original", values), ("made", values / 2)], title="T", bounded=False),
        figures.strips(values[None], title="T", bounded=False),
    ):
        assert_uncut(figure)


@settings(deadline=None, max_examples=30)
@given(SAMPLES, st.sampled_from([np.nan, np.inf, -np.inf]), st.booleans(), st.data())
def test_what_is_no_number_is_not_drawn(values: np.ndarray, wrong: float, bounded: bool, data: Any) -> None:
    values.flat[data.draw(st.integers(0, values.size - 1))] = wrong
    with pytest.raises(BadInput, match="NaN or infinity"):
        figures.sheet(values, title="T", bounded=bounded)
    with pytest.raises(BadInput, match="NaN or infinity"):
        figures.rows([("good", np.zeros_like(values)), ("bad", values)], title="T", bounded=bounded)


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(2, 30)), elements=FINITE))
def test_the_numbers_of_the_axis_stand_where_these_values_are(values: np.ndarray) -> None:
    shown = panels([values], bounded=False)
    numbers = [float(text) for _, text in shown.ticks]
    shares = [share for share, _ in shown.ticks]
    assert 2 <= len(numbers) <= 6 and all(0 < share < 1 for share in shares)
    if len(numbers) > 2:  # evenly spaced, and the larger number stands higher
        np.testing.assert_allclose(np.diff(shares), np.diff(shares)[0], atol=1e-3)
        assert all(a <= b for a, b in pairwise(numbers)) and all(a > b for a, b in pairwise(shares))


def test_a_line_goes_through_its_values() -> None:
    ramp = np.linspace(-10, 30, 200, dtype=np.float32).reshape(1, 1, -1)
    shown = panels([ramp, np.full_like(ramp, 20)], bounded=False)
    at = {text: share * 96 for share, text in shown.ticks}
    assert list(at) == ["0", "20"]
    rising, flat = (height_of(group[0], COLOURS[0]) for group in shown.groups)
    np.testing.assert_allclose(flat, at["20"], atol=1)
    tenth = (at["0"] - at["20"]) / 2  # 10 units; the columns that are seen show -8 to 28
    np.testing.assert_allclose(rising[[0, -1]], [at["0"] + 0.8 * tenth, at["20"] - 0.8 * tenth], atol=1.5)
    np.testing.assert_allclose(rising[len(rising) // 2], at["20"] + tenth, atol=1.5)


@pytest.mark.parametrize("length", [300, 20_000])
def test_no_peak_is_lost_however_long_the_signal_is(length: int) -> None:
    signal = np.zeros((2, 1, length), np.float32)
    signal[0, 0, length // 3] = 1
    peak, flat = panels([signal], bounded=True).groups[0]
    blue = (peak[2].astype(int) - peak[0] > 60).any(1)
    assert blue[7:80].all() and not (flat[2].astype(int) - flat[0] > 60).any(1)[:80].any()


def test_every_channel_has_a_line_of_its_own_and_a_name() -> None:
    levels = np.linspace(0.1, 0.9, 9, dtype=np.float32)
    signal = np.broadcast_to(levels[None, :, None], (1, 9, 50))
    for channels in (2, 7, 9):
        figure = np.asarray(figures.sheet(signal[:, :channels], title="T"))
        shown = panels([signal[:, :channels]], bounded=True)
        drawn = min(channels, len(COLOURS))
        assert [name for name, _ in shown.legend] == [f"channel {k}" for k in range(drawn)]
        assert ("the first 7 of 9 channels" in shown.note) == (channels == 9)
        for colour in COLOURS[:drawn]:
            assert ImageColor.getrgb(colour) in colours(figure)
        rows = [int(np.median(height_of(shown.groups[0][0], colour))) for colour in COLOURS[: min(drawn, 6)]]
        assert rows == sorted(rows, reverse=True)
    assert panels([signal[:, :1]], bounded=True).legend == []


def test_bytes_and_floats_look_alike() -> None:
    values = np.random.default_rng(0).integers(0, 256, (2, 2, 4, 5, 6), dtype=np.uint8)
    for whole in (values, values[..., 0, 0], values[..., 0, 0, 0]):
        floats = whole.astype(np.float32) / 255
        assert figures.sheet(whole, title="T") == figures.sheet(floats, title="T")


def test_volumes_are_seen_from_three_sides() -> None:
    volume = np.random.default_rng(0).random((1, 1, 24, 32, 40), dtype=np.float32) ** 9
    figure = figures.sheet(volume, title="T")
    views = [volume[0].max(1), volume[0].max(3).swapaxes(1, 2), volume[0].max(2)]
    front, side, top = (find(figure, enlarged(view, 3)) for view in views)
    assert len(front) == len(side) == len(top) == 1
    assert side[0][0] == front[0][0] and side[0][1] == front[0][1] + 40 * 3 + 2
    assert top[0][1] == front[0][1] and top[0][0] == front[0][0] + 32 * 3 + 2


@pytest.mark.parametrize("shape", [(50, 1, 8, 8), (50, 1, 3, 4, 5)])
def test_black_and_white_of_unbounded_values_leave_out_the_outliers(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).uniform(-5, 5, shape).astype(np.float32)
    values.flat[0] = 1e6
    shown = panels([values], bounded=False)
    assert "black is " in shown.note and 0 < float(shown.note.rsplit(" ", 1)[1]) < 5.01
    assert shown.groups[0].min() >= 0 and shown.groups[0].max() <= 1 and shown.groups[0].std() > 0.1


def test_the_subtitle_says_which_channels_an_image_shows() -> None:
    said = [panels([images(1, channels)], bounded=True).note for channels in (1, 2, 3, 5)]
    assert said == ["", "channel 0 of 2", "", "channels 0, 1 and 2 of 5 as red, green and blue"]
