"""Figures hold the images that they show, and all of their text."""

from __future__ import annotations

import numpy as np
import pytest
from aepipe import figures
from aepipe.errors import AepipeError, BadInput
from PIL import Image

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
