"""Data sets and loaders of torch: what they would give is taken, or refused in a sentence."""

from __future__ import annotations

from typing import Any

import aepipe
import numpy as np
import pytest
import torch
from aepipe.errors import BadInput
from aepipe.images.data import open_images
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

PIXELS = np.random.default_rng(0).random((6, 1, 5, 9), dtype=np.float32)
TENSORS = TensorDataset(torch.from_numpy(PIXELS), torch.arange(6))


class OneByOne(IterableDataset):
    def __iter__(self):
        return iter(torch.from_numpy(PIXELS))


class Broken(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> np.ndarray:
        if index == 4:
            raise OSError("no such shard")
        return PIXELS[index]


def doubled(items: list[Any]) -> torch.Tensor:
    return 2 * torch.stack([item[0] for item in items])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (TENSORS, PIXELS),
        (DataLoader(TENSORS, 4), PIXELS),
        (DataLoader(TENSORS, 4, shuffle=True, drop_last=True), PIXELS),  # all items, each once, in their own order
        (DataLoader(TENSORS, None), PIXELS),
        (Subset(TENSORS, [4, 1]), PIXELS[[4, 1]]),
        (ConcatDataset([TENSORS, TENSORS]), np.concatenate([PIXELS, PIXELS])),
    ],
)
def test_items_of_data_sets_are_taken_each_once(given: Any, expected: np.ndarray) -> None:
    source = open_images(given)
    assert np.array_equal(source.read(np.arange(len(source))), expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (DataLoader(TENSORS, sampler=SubsetRandomSampler([1, 2])), "sampler of its own"),
        (DataLoader(TENSORS, sampler=RandomSampler(TENSORS, replacement=True)), "sampler of its own"),
        (DataLoader(TENSORS, batch_sampler=[[0, 1], [2]]), "sampler of its own"),
        (DataLoader(TENSORS, 4, collate_fn=doubled), "collate_fn of its own"),
        (DataLoader(OneByOne(), 4), "one after another"),
        (OneByOne(), "one after another"),
    ],
)
def test_what_would_give_other_items_is_refused(given: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        open_images(given)
    assert "give" in caught.value.hint


def test_hints_of_a_model_offer_no_arguments_that_it_does_not_take(kept_bundle, tmp_path) -> None:
    model = aepipe.load(kept_bundle, "cpu")
    with pytest.raises(BadInput, match="item 4 of the data set cannot be read: OSError: no such shard") as caught:
        open_images(Broken()).read(np.arange(6))
    assert "skip_bad=True" in caught.value.hint
    (tmp_path / "bad.png").write_bytes(b"no image")
    for images in (tmp_path / "bad.png", np.zeros((4, 3)), np.zeros((2, 28, 28), np.uint16), np.zeros((2, 1, 9, 9))):
        with pytest.raises(BadInput) as caught:
            model.encode(images)
        hint = caught.value.hint
        assert hint and not any(name in hint for name in ("skip_bad", "layout", "range=", "--")), hint
