"""Augmentations in training: images of any size, the same patches after a resume and in a team; data that lie in chunks."""

from __future__ import annotations

import json
from pathlib import Path

import aepipe
import numpy as np
import pytest
import torch
from aepipe import cli, hookimpl
from aepipe.errors import BadInput
from aepipe.images.data import open_images
from aepipe.workshop.fit import resume
from aepipe.workshop.training import training_data
from aepipe.workshop.training.team import Team
from aepipe.workshop.training.training_data import TrainingData, collect
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from tests.helpers.images import blobs
from tests.helpers.settings import STEADY
from tests.workshop.test_resume import assert_same

PATCHES = ["crop:size=8,patches=2", "flip", "rotate90"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Grey images, and one in colour, of many sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(12):
        size = rng.integers(8, 30, 2)
        shape = (*size, 3) if index == 5 else tuple(size)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{index:02d}.png")
    return folder


def collected(source: object, augment: list[str], *, fit_in_memory: bool = True, **more) -> TrainingData:
    options = {"device": torch.device("cpu"), "on_cpu": True, "seed": 0, "skip_bad": False, "show": False, **more}
    opened = open_images(str(source) if isinstance(source, Path) else source, split="train")
    return collect(opened, augment=augment, **options)


@pytest.fixture(params=[True, False], ids=["in memory", "read again"])
def memory(request, monkeypatch):
    """Once with all images in memory, and once without."""
    if not request.param:
        monkeypatch.setattr(training_data, "free_memory", lambda: 0)
    return request.param


@pytest.mark.trains
def test_images_of_any_size_train_by_patches_and_resume_exactly(photos: Path, memory, tmp_path: Path):
    options = {**STEADY, "augment": PATCHES, "corrupt": "gaussian:sigma=0..0.2", "epochs": 3}
    whole = aepipe.fit(str(photos), out=tmp_path / "whole", **options)
    assert whole.shape == (3, 8, 8) and len(whole.config["augmentations"]) == 3
    assert whole.config["augmentations"][0]["options"] == {"size": [8], "patches": 2}
    assert whole.heldout().shape == (1, 3, 8, 8) and whole.codes()[0].shape == (11, 2)
    aepipe.fit(str(photos), out=tmp_path / "halves", **{**options, "epochs": 1})
    resume(tmp_path / "halves", epochs=3, show=False)
    assert_same(tmp_path / "halves", tmp_path / "whole")
    trained = json.loads((whole.export(tmp_path / "bundle", show=False) / "manifest.json").read_text())["trained"]
    assert trained["augment"] == ["crop:size=8,patches=2", "flip:axis=horizontal", "rotate90"]


@pytest.mark.trains
def test_the_test_split_is_measured_on_patches_too(photos: Path, tmp_path: Path):
    for split, names in (("train", range(8)), ("test", range(8, 12))):
        (photos / split).mkdir()
        for index in names:
            (photos / f"{index:02d}.png").rename(photos / split / f"{index:02d}.png")
    run = aepipe.fit(str(photos), augment="crop:size=8", out=tmp_path / "run", **STEADY)
    assert run.config["metrics"]["split"] == "test" and run.config["metrics"]["count"] == 4


def test_every_patch_is_of_its_image_and_changes_from_epoch_to_epoch(memory, photos: Path):
    data = collected(photos, ["crop:size=8"])
    drawn = [images for epoch in (1, 2) for images, _ in data.pairs(data.train, 4, None, [0, epoch], augmented=True)]
    assert not torch.equal(drawn[0], drawn[3])
    own = (np.asarray(Image.open(photos / f"{row:02d}.png").convert("RGB")) for row in data.train)
    for patch, image in zip(torch.cat(drawn[:3]).numpy(), own, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(np.moveaxis(image, -1, 0) / np.float32(255), (8, 8), (1, 2))
        assert (windows == patch[:, None, None]).all((0, 3, 4)).any()
    again = torch.cat([images for images, _ in data.pairs(data.validation, 4, None, [0, 0])])
    assert torch.equal(again, torch.cat([images for images, _ in data.pairs(data.validation, 1, None, [0, 7])]))


@pytest.mark.parametrize("size", [2, 3])
def test_a_team_draws_what_one_process_draws(photos: Path, memory, size: int):
    data = collected(photos, PATCHES)
    rows = data.order([0, 1])
    assert sorted(rows) == sorted(np.repeat(data.train, 2))

    def drawn(team: Team) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(data.pairs(rows, 5, None, [0, 1], team, augmented=True))

    shares = zip(*(drawn(Team(rank, size)) for rank in range(size)), strict=True)
    for share, whole in zip(shares, drawn(Team(0, 1)), strict=True):
        assert torch.equal(torch.cat([target for _, target in share]), whole[1])


def test_images_that_are_too_small_are_named_or_left_out(photos: Path, tmp_path: Path, capsys):
    Image.new("L", (5, 40), 90).save(photos / "slip.png")
    with pytest.raises(BadInput, match=r"slip.png: .*a sample of 40x5 is smaller than the patch of 8x8"):
        collected(photos, ["crop:size=8"])
    data = collected(photos, ["crop:size=8"], skip_bad=True)
    assert len(data.good) == 12 and "skipped 1 bad images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (["crop:size=64"], "smaller than the patch of 64x64"),
        (["rotate90", "crop:size=8"], "crop them first"),
        (["crop:size=8/8/8"], "cannot be cut out of"),
        (["cropp"], "did you mean 'crop'"),
        (["crop:size=0"], "size must be at least 1"),
    ],
)
def test_augmentations_that_cannot_be_are_refused_before_anything_is_read(
    photos: Path, tmp_path, capsys, augment, words
):
    given = [text for each in augment for text in ("--augment", each)]
    assert cli.run(["train", "--data", str(photos), *given, "-o", str(tmp_path / "run")]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.trains
def test_signals_and_unbounded_values_are_varied_too(tmp_path: Path):
    signals = np.random.default_rng(0).normal(0, 5, (30, 2, 40))
    augment = ["crop:size=24", "flip", "jitter"]
    run = aepipe.fit(signals, layout="NCL", range="none", augment=augment, out=tmp_path / "run", **STEADY)
    assert run.shape == (2, 24) and run.heldout().shape == (3, 2, 24) and run.heldout().std() > 3
    with pytest.raises(BadInput, match="poisson counts light"):
        aepipe.fit(signals, layout="NCL", range="none", corrupt="poisson", out=tmp_path / "no", **STEADY)


class Wrong:
    """Augmentations of a stranger that break their word."""

    @hookimpl
    def register_augmentations(self, register):
        def shrinking():
            return lambda images, rng: images[..., 1:]

        def failing():
            def augment(images, rng):
                raise KeyError("oh")

            return augment

        register(shrinking)
        register(failing)


@pytest.mark.parametrize(("name", "words"), [("shrinking", "is due"), ("failing", "KeyError")])
def test_an_augmentation_that_fails_is_named(register, tmp_path: Path, name: str, words: str):
    register(Wrong(), "wrong")
    with pytest.raises(aepipe.AepipeError, match=f"augmentation '{name}'.*{words}"):
        aepipe.fit(blobs(), augment=name, out=tmp_path / "run", **STEADY)


# Data that lie in chunks


class Counted:
    """An array that lies in chunks, and counts how often each is opened."""

    def __init__(self, images: np.ndarray, chunk: int):
        self.images, self.chunk, self.shape = images, chunk, images.shape[1:]
        self.opened: list[int] = []

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: np.ndarray) -> np.ndarray:
        self.opened += sorted({int(index) // self.chunk for index in indices})
        return self.images[indices]


@settings(max_examples=25, deadline=None)
@given(count=some.integers(20, 90), chunk=some.integers(2, 30), size=some.integers(1, 40), members=some.integers(1, 2))
def test_a_chunk_is_read_once_an_epoch(count: int, chunk: int, size: int, members: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_data, "free_memory", lambda: 0)
        patch.setattr(training_data, "BUFFER", 4 * 64 * 3 * chunk)  # three chunks are mixed
        counted = Counted(blobs(count), chunk)
        data = collected(counted, [])
        for epoch in (1, 2):
            rows = data.order([0, epoch])
            assert sorted(rows) == list(data.train) and np.array_equal(rows, data.order([0, epoch]))
            for rank in range(members):
                counted.opened.clear()
                share = torch.cat(list(data.batches(rows, size, Team(rank, members)))).numpy()
                assert max(np.bincount(counted.opened), default=0) <= 1
                own = np.concatenate([rows[s] for s in training_data.shares(len(rows), size, Team(rank, members))])
                assert np.array_equal(share, counted.images[data.good[own]] / np.float32(255))
            counted.opened.clear()
            list(data.pairs(rows, size, lambda images, rng: images, [0, epoch]))
            assert max(np.bincount(counted.opened)) == 1
        counted.opened.clear()
        list(data.pairs(data.validation, size, None, [0, 0]))
        assert len(counted.opened) <= 1 + -(-len(data.validation) // chunk)
        assert not np.array_equal(data.order([0, 1]), data.order([0, 2]))


def test_rows_are_mixed_within_some_chunks_and_chunks_are_mixed(monkeypatch):
    monkeypatch.setattr(training_data, "BUFFER", 4 * 64 * 4 * 10)
    data = collected(Counted(blobs(400), 10), [])
    own = data.chunks[data.order([0, 1])]
    parts = [set(own[start : start + 40]) for start in range(0, 320, 40)]
    assert all(len(part) <= 5 for part in parts) and len(set.union(*parts)) > 30
    assert (np.diff(own) != 0).mean() > 0.6 and len(set(np.diff(own[::40]))) > 4


@pytest.mark.trains
def test_chunked_data_resume_exactly(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(training_data, "free_memory", lambda: 0)
    options = {**STEADY, "augment": "flip", "epochs": 3}
    aepipe.fit(Counted(blobs(), 7), out=tmp_path / "whole", **options)
    aepipe.fit(Counted(blobs(), 7), out=tmp_path / "parts", **{**options, "epochs": 1})
    resume(tmp_path / "parts", Counted(blobs(), 7), epochs=3, show=False)
    assert_same(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize("chunk", [0, 2.5, True, "ten"])
def test_a_chunk_that_is_no_number_is_the_data_sets_mistake(chunk):
    counted = Counted(blobs(), 1)
    counted.chunk = chunk
    with pytest.raises(aepipe.AepipeError, match="lie together"):
        collected(counted, [])
