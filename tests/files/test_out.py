"""OUT is judged before anything is computed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from aepipe.bundle.manifest import MANIFEST
from aepipe.errors import BadInput
from aepipe.files.ours import LIST, whole_around
from aepipe.files.out import check_apart, output_kind, result_names

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


def test_an_ending_may_have_two_parts(tmp_path):
    assert output_kind(tmp_path / "a.NII.gz", ("nii", "nii.gz", "folder")) == "nii.gz"
    assert output_kind(tmp_path / "a.gz.nii", ("nii", "nii.gz", "folder")) == "nii"
    with pytest.raises(BadInput, match=r"\.gz"):
        output_kind(tmp_path / "a.nii.gz", ("nii", "folder"))
    assert result_names(["a/x.nii.gz", "a/y.nii", "a/x.nii"], ".nii") == ["a/x.nii.gz.nii", "a/y.nii", "a/x.nii.nii"]
    assert result_names(["x.nii.gz", "y.v1.gz"], ".nii") == ["x.nii", "y.nii"]


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
             "file/a.png": "is a file", "file/deep/folder": "is a file", "nul\0.png": "cannot be the name of a file"}  # fmt: skip
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


# OUT and the inputs


@pytest.mark.parametrize("behind", ["", "[images]", "[:3]", "[images][:3]", "[images][::2]", "[0]"])
def test_an_output_that_is_the_input_is_found_behind_names_and_slices(tmp_path, behind: str):
    given = tmp_path / "x.npz"
    given.write_bytes(b"x")
    with pytest.raises(BadInput, match="is the input itself"):
        check_apart(tmp_path / "x.npz", f"{given}{behind}")
    check_apart(tmp_path / "y.npz", f"{given}{behind}")


def test_one_file_of_two_names_is_one_file(tmp_path):
    """As on file systems that know no case, and where a folder is mounted twice; a hard link shows it everywhere."""
    (tmp_path / "x.npy").write_bytes(b"x")
    os.link(tmp_path / "x.npy", tmp_path / "y.npy")
    with pytest.raises(BadInput, match="is the input itself"):
        check_apart(tmp_path / "y.npy", tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("mark", "content"),
    [("manifest.json", {"pair": "x"}), ("run.json", {"densities_wanted": []}), (LIST, {"kind": "x", "files": []})],
)
def test_no_file_of_a_whole_folder_is_replaced_alone(tmp_path, mark: str, content: dict):
    for name in ("codes.npz", "deep/er/preview.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("ours")
        assert output_kind(tmp_path / name, ALL)  # a folder like any other
    (tmp_path / mark).write_text(json.dumps(content))
    for name in ("codes.npz", "deep/er/preview.png"):
        with pytest.raises(BadInput, match="where none is replaced"):
            output_kind(tmp_path / name, ALL)
    assert output_kind(tmp_path / "new.npz", ALL) == "npz"
    (tmp_path / mark).write_text('{"name": "my web app"}')
    assert output_kind(tmp_path / "codes.npz", ALL) == "npz"


def test_bundles_and_runs_are_known_by_their_marks(kept_bundle, digits_run):
    assert whole_around(kept_bundle / MANIFEST) == ("bundle", kept_bundle)
    assert whole_around(digits_run.directory / "density" / "x") == ("run", digits_run.directory)
