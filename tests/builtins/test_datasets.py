"""The built-in data sets; downloads run against a real HTTP server on this machine."""

from __future__ import annotations

import gzip
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from aepipe import AepipeError, BadInput
from aepipe.files.cache import sha256_of
from aepipe.images.data import open_images
from aepipe_builtins import downloads

from tests.helpers.places import DATA
from tests.helpers.serving import served

FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
real = pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason="AEPIPE_DATA has no mnist")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server whose folder `good` has the test half of MNIST: the real one where it is at hand, else a small one."""
    good = tmp_path / "site" / "good"
    good.mkdir(parents=True)
    if (DATA / "mnist").is_dir():
        for file in FILES:
            shutil.copy(DATA / "mnist" / f"{file}.gz", good)
    else:
        contents = (bytes(16) + bytes(range(196)) * 4 * 20, bytes(8) + bytes(range(10)) * 2)
        for file, content in zip(FILES, contents, strict=True):
            (good / f"{file}.gz").write_bytes(gzip.compress(content))
            monkeypatch.setitem(downloads.SHA256["mnist"], file, sha256_of(content))
    monkeypatch.delenv("AEPIPE_DATA", raising=False)
    monkeypatch.setenv("AEPIPE_CACHE", str(tmp_path / "cache"))
    with served(tmp_path / "site") as (url, asked):
        yield tmp_path / "site", url, asked


def mirrors(monkeypatch, *urls: str) -> None:
    monkeypatch.setitem(downloads.MIRRORS, "mnist", list(urls))


def test_download_falls_back_checks_and_caches(site, monkeypatch, tmp_path, capsys):
    folder, url, asked = site
    corrupted = folder / "corrupted"
    corrupted.mkdir()
    content = bytearray(gzip.decompress((folder / "good" / f"{FILES[0]}.gz").read_bytes()))
    content[1000] ^= 1
    (corrupted / f"{FILES[0]}.gz").write_bytes(gzip.compress(bytes(content), 1))
    (folder / "cut").mkdir()
    (folder / "cut" / f"{FILES[0]}.gz").write_bytes((folder / "good" / f"{FILES[0]}.gz").read_bytes()[:-50])
    mirrors(monkeypatch, "http://127.0.0.1:1/dead/", url + "missing/", url + "corrupted/", url + "cut/", url + "good/")
    source = open_images("mnist[:20]")
    assert source.shape == (1, 28, 28) and len(source) == 20 and len(source.labels) == 20
    cached = tmp_path / "cache" / "mnist"
    assert sorted(path.name for path in cached.iterdir()) == list(FILES), "nothing temporary stays"
    assert f"downloading {url}good/{FILES[0]}.gz" in capsys.readouterr().err.replace("\n", "")
    before = len(asked)
    open_images("mnist")
    assert len(asked) == before, "the second time comes from the cache"
    (cached / FILES[0]).write_bytes(bytes(content))  # a damaged cache heals itself
    np.testing.assert_array_equal(open_images("mnist").read(np.arange(20)), source.read(np.arange(20)))
    assert len(asked) > before
    assert sha256_of((cached / FILES[0]).read_bytes()) == downloads.SHA256["mnist"][FILES[0]]


def test_download_that_fails_says_what_to_do(site, monkeypatch, tmp_path):
    _, url, _ = site
    mirrors(monkeypatch, "http://127.0.0.1:1/dead/", url + "missing/")
    with pytest.raises(AepipeError, match="t10k-images-idx3-ubyte of mnist cannot be downloaded") as caught:
        open_images("mnist")
    assert "127.0.0.1:1/dead" in caught.value.message and "404" in caught.value.message
    assert "AEPIPE_DATA" in caught.value.hint and caught.value.exit_code == 1
    assert list((tmp_path / "cache" / "mnist").iterdir()) == []
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AEPIPE_CACHE", str(tmp_path / "file"))
    with pytest.raises(AepipeError, match="cache folder") as caught:
        open_images("mnist")
    assert "AEPIPE_CACHE" in caught.value.hint


def test_own_folder_is_used_first_and_checked(site, monkeypatch, tmp_path):
    folder, _, asked = site
    mirrors(monkeypatch)
    own = tmp_path / "own" / "mnist"
    own.mkdir(parents=True)
    (own / FILES[0]).write_bytes(gzip.decompress((folder / "good" / f"{FILES[0]}.gz").read_bytes()))  # plain
    shutil.copy(folder / "good" / f"{FILES[1]}.gz", own)  # gzipped
    monkeypatch.setenv("AEPIPE_DATA", str(tmp_path / "own"))
    assert open_images("mnist", limit=3).labels.shape == (3,)
    assert not (tmp_path / "cache").exists() and not asked
    (own / f"{FILES[1]}.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(BadInput, match=f"{FILES[1]}.gz cannot be read"):
        open_images("mnist")
    (own / f"{FILES[1]}.gz").write_bytes(gzip.compress(bytes(10_008)))
    with pytest.raises(BadInput, match="SHA-256") as caught:
        open_images("mnist")
    assert "AEPIPE_DATA" in caught.value.hint


@real
def test_mnist():
    source = open_images("mnist", split="train")
    assert len(source) == 60_000 and source.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    images = source.read(np.arange(60_000))
    assert images.dtype == np.uint8 and abs(images.mean() / 255 - 0.13066) < 1e-5
    assert len(open_images("mnist[:64]")) == 64 and len(open_images("mnist")) == 10_000


def test_tables_are_complete():
    for name, hashes in downloads.SHA256.items():
        assert len(hashes) == 4 and all(len(value) == 64 for value in hashes.values())
        assert len(downloads.MIRRORS[name]) >= 2


def test_digits():
    train, test = open_images("digits", split="train"), open_images("digits")
    assert (len(train), len(test)) == (1438, 359) and train.shape == (1, 28, 28)
    images = train.read(np.arange(len(train)))
    assert images.dtype == np.uint8 and images.max() == 255 and 0.25 < images.mean() / 255 < 0.35
    small = open_images("digits:size=8").read(np.arange(359))
    assert set(np.unique(small)) <= {round(255 * level / 16) for level in range(17)}
    from sklearn.datasets import load_digits

    bunch = load_digits()
    assert (test.labels == bunch.target[4::5]).all() and (train.labels[:4] == bunch.target[:4]).all()
    assert np.abs(small[0, 0] - bunch.images[4] * 255 / 16).max() <= 0.5


def test_digits_without_scikit_learn(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(BadInput, match="scikit-learn") as caught:
        open_images("digits")
    assert "aepipe[train]" in caught.value.hint


def test_digits_of_a_scikit_learn_that_keeps_them_elsewhere(monkeypatch, tmp_path):
    import importlib.util

    usual = open_images("digits:size=8")
    find = importlib.util.find_spec
    elsewhere = SimpleNamespace(origin=str(tmp_path / "sklearn" / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: elsewhere if name == "sklearn" else find(name))
    other = open_images("digits:size=8")
    np.testing.assert_array_equal(usual.read(np.arange(9)), other.read(np.arange(9)))
    np.testing.assert_array_equal(usual.labels, other.labels)


def test_one_class_alone():
    whole, threes = open_images("digits", split="test"), open_images("digits:only=3", split="test")
    assert set(threes.labels.tolist()) == {3} and len(threes) == (whole.labels == 3).sum()
    first = int(np.flatnonzero(whole.labels == 3)[0])
    np.testing.assert_array_equal(threes.read(np.array([0])), whole.read(np.array([first])))
    with pytest.raises(BadInput, match="only=10 is no class"):
        open_images("digits:only=10")
