"""Faults of data sets."""

from __future__ import annotations

import numpy as np

from tests.testing.planted import fault


class Sound:
    """Twelve random images to train on, seven to test on."""

    shape = (12, 1, 8, 8), (7, 1, 8, 8)

    def load(self, split):
        if split not in ("train", "test"):
            raise ValueError("the splits are 'train' and 'test'")
        test = split == "test"
        return np.random.default_rng(test).integers(0, 256, self.shape[test], dtype=np.uint8)

    def labels(self, split):
        return np.arange(len(self.load(split))) % 3


@fault("dataset", "loads_both_splits", "return an array [N, C, *sides]", "reads_right_values")
def has_no_test_split():
    "Fails for the test split."

    class Fault(Sound):
        def load(self, split):
            return {"train": super().load("train")}[split] if split != "no-such-split" else super().load(split)

    return Fault()


@fault("dataset", "loads_both_splits", "give all images one shape")
def has_splits_of_two_shapes():
    "Smaller images to test on."

    class Fault(Sound):
        shape = (12, 1, 8, 8), (7, 1, 6, 6)

    return Fault()


@fault("dataset", "reads_right_values", "divide by 255")
def forgets_to_divide():
    "Floats from 0 to 255."

    class Fault(Sound):
        def load(self, split):
            return super().load(split).astype(np.float32)

    return Fault()


@fault("dataset", "reads_right_values", "uint8 goes to 255")
def is_nearly_black():
    "0..1 as uint8."

    class Fault(Sound):
        def load(self, split):
            return super().load(split) // 200

    return Fault()


class Reader:
    """Images that are read by index."""

    def __init__(self, images):
        self.images, self.shape = images, images.shape[1:]

    def __len__(self):
        return len(self.images)

    def read(self, indices):
        return self.images[indices]


@fault("dataset", "reads_in_any_order", "in the order of `indices`")
def reads_in_its_own_order():
    "Sorts the indices."

    class Sorting(Reader):
        def read(self, indices):
            return super().read(np.sort(indices))

    class Fault(Sound):
        def load(self, split):
            return Sorting(super().load(split))

    return Fault()


@fault("dataset", "has_fitting_labels", "one label an image")
def has_too_many_labels():
    "The labels of the training split, always."

    class Fault(Sound):
        def labels(self, split):
            return super().labels("train")

    return Fault()


@fault("dataset", "has_two_splits", "hold some images out")
def tests_on_training_images():
    "One split under two names."

    class Fault(Sound):
        shape = (12, 1, 8, 8), (12, 1, 8, 8)

        def load(self, split):
            return super().load("train" if split == "test" else split)

    return Fault()


@fault("dataset", "refuses_unknown_splits", "raise ValueError for a split other than 'train' and 'test'")
def takes_any_split():
    "Everything that is not the test split is the training split."

    class Fault(Sound):
        def load(self, split):
            return super().load(split if split == "test" else "train")

    return Fault()


@fault("dataset", "refuses_unknown_splits", "raise ValueError")
def fails_on_unknown_splits():
    "A KeyError for an unknown split."

    class Fault(Sound):
        def load(self, split):
            return super().load({"train": "train", "test": "test"}[split])

    return Fault()


@fault("dataset", "is_the_same_each_time", "seed whatever is drawn")
def shuffles():
    "Another order each time."

    class Fault(Sound):
        def load(self, split):
            return np.random.default_rng().permutation(super().load(split))

    return Fault()


@fault("dataset", "works_without_torch", "the runtime has no torch")
def loads_with_torch():
    "Reads through torch."

    class Fault(Sound):
        def load(self, split):
            import torch

            return torch.from_numpy(super().load(split)).numpy()

    return Fault()
