"""Which split the name of a folder or of an array means."""

from __future__ import annotations

import re
from collections.abc import Iterable

from aepipe.errors import BadInput

SPLITS = ("train", "test")
WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "eval", "evaluation", "holdout"), "validation"),
}
FILLING = {"set", "split", "data", "dataset", "images", "image", "imgs", "img", "x"}


def words_of(name: str) -> tuple[str | None, list[str]]:
    """(train, test, validation or None; the other words) of a name such as x_train, Test, val2017, training_set, trainA."""
    parts = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))
    found = {WORDS[part.lower()] for part in parts if part.lower() in WORDS}
    rest = [part.lower() for part in parts if part.lower() not in WORDS]
    return (found.pop() if len(found) == 1 else None), rest


def split_of(folder: str) -> str | None:
    """The split that a folder of this name holds, if it says nothing else: Test, val2017, training_set, trainA."""
    split, rest = words_of(folder)
    return split if all(word in FILLING or len(word) == 1 for word in rest) else None


def choose_split(names: Iterable[str], split: str, where: str) -> tuple[str | None, list[str]]:
    """(the folder that holds `split`, the folders of other splits) of a folder's sub-folders; (None, []) without splits.

    There are splits where two folders are named after two of them. Where none is there to test, that to validate stands in.
    Raises BadInput for two folders of one split, and where images to test or to validate would be trained on.
    """
    kinds: dict[str, list[str]] = {}
    for name in sorted(names):
        if kind := split_of(name):
            kinds.setdefault(kind, []).append(name)
    if kinds and split == "train" and "train" not in kinds:
        listing = ", ".join(name for each in kinds.values() for name in each)
        message = f"{where} holds {listing} and no folder train, so that images to test with would be trained on"
        raise BadInput(message, "put the images to train on into a folder train, or give their folder")
    if len(kinds) < 2:
        return None, []
    wanted = split if split in kinds else "validation"
    if len(kinds[wanted]) > 1:
        message = f"{where} has several folders of its {wanted} split: {', '.join(kinds[wanted])}"
        raise BadInput(message, "give one of them")
    chosen = kinds[wanted][0]
    return chosen, [name for each in kinds.values() for name in each if name != chosen]
