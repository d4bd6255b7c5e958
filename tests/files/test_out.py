"""OUT is judged before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aepipe.errors import BadInput
from aepipe.files.out import output_kind

from tests.helpers.folders import listing

ALL = ("png", "folder", "npy", "npz", "csv")


# OUT by its ending


@pytest.mark.parametrize(
    ("out", "kind"),
    [("a.png", "png"), ("A.PNG", "png"), ("x/y/a.npy", "npy"), ("a.npz", "npz"), ("a.csv", "csv"), ("-", "csv"),
     ("folder", "folder"), ("folder/", "folder"), ("v1.2/", "folder"), ("new/deep/", "folder"), (".hidden", "folder")],
)  # fmt: skip
def test_kind_by_ending(tmp_path, monkeypatch, out, kind):
    monkeypatch.chdir(tmp_path)
    assert output_kind(out, ALL) == kind
    assert listing(tmp_path) == []  # looking leaves nothing behind
    with pytest.raises(BadInput):
        output_kind(out, tuple(each for each in ALL if each != kind))


def test_other_endings_are_refused_with_the_closest(tmp_path):
    with pytest.raises(BadInput, match=r"\.pgn") as caught:
        output_kind(str(tmp_path / "a.pgn"), ("png", "npy", "folder"))
    assert "did you mean '.png'" in caught.value.hint and "a folder" in caught.value.hint
    with pytest.raises(BadInput, match="stdout"):
        output_kind("-", ("png",))
    with pytest.raises(BadInput, match="a folder") as caught:
        output_kind(str(tmp_path / "codes"), ("npy",))
    assert ".npy" in caught.value.hint
    with pytest.raises(BadInput):
        output_kind("", ALL)


def test_places_that_cannot_take_the_output(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "sheet.png").mkdir()
    (tmp_path / "old.npy").write_text("x")
    assert output_kind(tmp_path / "empty", ALL) == "folder"
    assert output_kind(tmp_path / "old.npy", ALL) == "npy"
    cases = {"file": "is a file", "file/": "is a file", "full": "not empty", "sheet.png": "is a folder",
             "file/a.png": "is a file", "file/deep/folder": "is a file", "nul\0.png": "cannot be written"}  # fmt: skip
    before = listing(tmp_path)
    for out, message in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            output_kind(f"{tmp_path}/{out}", ALL)
        assert caught.value.hint
    assert listing(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path):
    (tmp_path / "mine").mkdir(mode=0o500)
    with pytest.raises(BadInput, match="cannot be written"):
        output_kind(tmp_path / "mine" / "a.png", ALL)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody can write")
def test_unwritable_folder():
    for out in ("/proc/out.png", "/proc/new/out.png", "/proc/folder"):
        with pytest.raises(BadInput, match="cannot be written"):
            output_kind(out, ALL)
