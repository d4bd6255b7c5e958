"""IDX data sets. They are read from the user's own folder, else downloaded once, from the first good mirror, and cached."""

from __future__ import annotations

import gzip
import os
import zlib
from http.client import HTTPException
from pathlib import Path

import numpy as np
from aepipe import AepipeError, BadInput
from aepipe.files.cache import cache_folder, fetch, keep, make_folder, sha256_of

# SHA-256 of the unpacked IDX files, because the packed files differ from mirror to mirror.
SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}
MIRRORS = {
    "mnist": [
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ],
    "fashion-mnist": [
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ],
}


class Idx:
    """A data set of four IDX files: in $AEPIPE_DATA/NAME, else in the cache, to which they are downloaded on first use."""

    def __init__(self, name: str):
        self.name = name

    def load(self, split: str) -> np.ndarray:
        """The images, uint8 [N,1,28,28]."""
        return np.frombuffer(self._content(split, "images-idx3-ubyte"), np.uint8, offset=16).reshape(-1, 1, 28, 28)

    def labels(self, split: str) -> np.ndarray:
        """The classes 0 to 9, uint8 [N]."""
        return np.frombuffer(self._content(split, "labels-idx1-ubyte"), np.uint8, offset=8)

    def _content(self, split: str, kind: str) -> bytes:
        if split not in ("train", "test"):
            raise ValueError(f"there is no split {split!r}: the splits are 'train' and 'test'")
        file = f"{'train' if split == 'train' else 't10k'}-{kind}"
        own = os.environ.get("AEPIPE_DATA")
        if own and (content := _read(Path(own).expanduser() / self.name, file)) is not None:
            if sha256_of(content) != SHA256[self.name][file]:
                message = f"{file} in {Path(own) / self.name} is damaged or another file (SHA-256 differs)"
                raise BadInput(message, f"replace it, or unset AEPIPE_DATA to download {self.name}")
            return content
        cache = cache_folder() / self.name
        content = _read(cache, file)
        if content is None or sha256_of(content) != SHA256[self.name][file]:
            content = download(self.name, file, cache)
        return content


def _read(folder: Path, file: str) -> bytes | None:
    """The content of a file, gzipped or not; None if it is not there."""
    for path in (folder / file, folder / f"{file}.gz"):
        try:
            if path.exists():
                content = path.read_bytes()
                return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(f"{path} cannot be read: {error}", "replace the file or remove it") from None
    return None


def download(name: str, file: str, folder: Path) -> bytes:
    """Fetch one file from the first mirror that has the right content, keep it in `folder` and return its content."""
    make_folder(folder)
    failures = []
    for mirror in MIRRORS[name]:
        url = f"{mirror}{file}.gz"
        try:
            content = gzip.decompress(fetch(url, f"{name}: {file}"))
        except (OSError, ValueError, EOFError, zlib.error, HTTPException) as error:
            failures.append(f"{url}: {error or type(error).__name__}")
            continue
        if sha256_of(content) == SHA256[name][file]:
            keep(content, folder / file)
            return content
        failures.append(f"{url}: wrong content (SHA-256 differs)")
    hint = f"try again online, or put {file}.gz into a folder {name!r} and name the folder above it in AEPIPE_DATA"
    raise AepipeError(f"{file} of {name} cannot be downloaded: {'; '.join(failures)}", hint)
