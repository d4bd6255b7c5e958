"""Results arrive whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from aepipe.errors import AepipeError, BadInput
from aepipe.files.staged import replacing
from aepipe.infer.writers import ArrayWriter, CsvWriter, FolderWriter
from PIL import Image

from tests.helpers.folders import listing


class Stop(Exception):
    pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody can write")
def test_writers_in_an_unwritable_folder():
    with pytest.raises(AepipeError, match=r"Cannot write /proc/out\.npy") as caught, ArrayWriter("/proc/out.npy"):
        pass
    assert caught.value.exit_code == 1
    for writer in (FolderWriter("/proc/folder", ["a"]), CsvWriter("/proc/out.csv", ["a"])):
        with pytest.raises(AepipeError, match="Cannot write /proc"), writer:
            pass


# arrays


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_array_round_trip_over_an_old_file(tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    path.write_text("old")
    array = np.random.default_rng(0).random((1234, 2, 3), dtype=np.float32)
    with ArrayWriter(path, "codes") as writer:
        writer.write(array[:0])
        for start in range(0, 1234, 9):  # 1 digit grows to 4
            writer.write(array[start : start + 9])
        assert path.read_text() == "old"
    back = np.load(path) if ending == "npy" else np.load(path)["codes"]
    assert back.dtype == np.float32 and np.array_equal(back, array)
    assert listing(tmp_path) == [path.name]


def test_array_header_equals_numpys_own(tmp_path):
    array = np.arange(20_000, dtype=np.float32).reshape(10_000, 2)
    np.save(tmp_path / "a.npy", array)
    with ArrayWriter(tmp_path / "b.npy") as writer:
        for row in (array[:1], array[1:]):
            writer.write(row)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert np.load(tmp_path / "b.npy", mmap_mode="r").shape == (10_000, 2)


def test_array_rows_that_are_not_contiguous_and_other_dtypes(tmp_path):
    array = np.arange(24, dtype=np.float64).reshape(4, 6)
    with ArrayWriter(tmp_path / "a.npy") as writer:
        writer.write(array[::2, ::2])
    assert np.array_equal(np.load(tmp_path / "a.npy"), array[::2, ::2])


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_array_of_no_rows(tmp_path, ending):
    def load(name):
        loaded = np.load(tmp_path / name)
        return loaded if ending == "npy" else loaded["images"]

    with ArrayWriter(tmp_path / f"none.{ending}"):
        pass
    assert load(f"none.{ending}").shape == (0,)
    with ArrayWriter(tmp_path / f"empty.{ending}") as writer:
        writer.write(np.zeros((0, 1, 28, 28), np.float32))
    assert load(f"empty.{ending}").shape == (0, 1, 28, 28)


def test_array_rows_of_another_shape_abort(tmp_path):
    with pytest.raises(BadInput, match="do not make one array"), ArrayWriter(tmp_path / "a.npy") as writer:
        writer.write(np.zeros((2, 3), np.float32))
        writer.write(np.zeros((2, 4), np.float32))
    assert listing(tmp_path) == []


def test_array_makes_missing_folders_only_at_the_end(tmp_path):
    with pytest.raises(Stop), ArrayWriter(tmp_path / "a" / "b" / "c.npy") as writer:
        writer.write(np.zeros((2, 3), np.float32))
        raise Stop
    assert listing(tmp_path) == []
    with ArrayWriter(tmp_path / "a" / "b" / "c.npy") as writer:
        writer.write(np.zeros((2, 3), np.float32))
    assert listing(tmp_path) == ["a", "a/b", "a/b/c.npy"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.npy").write_text("old")
    (tmp_path / "link.npy").symlink_to("real.npy")
    with ArrayWriter(tmp_path / "link.npy") as writer:
        writer.write(np.ones((2, 3), np.float32))
    assert (tmp_path / "link.npy").is_symlink() and np.load(tmp_path / "real.npy").shape == (2, 3)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "a.html"])
def test_an_abort_leaves_the_old_file(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(Stop):
        if name.endswith("csv"):
            with CsvWriter(path, ["n"]) as table:
                table.write({"n": range(100_000)})
                raise Stop
        if name.endswith("html"):
            with replacing(path) as temporary:
                temporary.write_text("half")
                raise Stop
        with ArrayWriter(path) as writer:
            writer.write(np.ones((10, 3), np.float32))
            raise Stop
    assert path.read_text() == "old" and listing(tmp_path) == [name]


FULL = """
import resource, sys
import numpy as np
from aepipe.errors import AepipeError
from aepipe.infer.writers import ArrayWriter, Background, CsvWriter, FolderWriter
import PIL.Image, PIL.PngImagePlugin

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
path, rows = sys.argv[1], np.random.default_rng(0).random((1, 3, 400, 400), dtype=np.float32)
try:
    if path.endswith(".csv"):
        with CsvWriter(path, ["n"]) as writer:
            for _ in range(100):
                writer.write({"n": np.arange(10_000)})
    elif path.endswith("folder"):
        with FolderWriter(path, lambda index: f"{index}.jpg") as writer:
            writer.write([0], rows)
    elif sys.argv[2] == "late":  # what is still in the buffer fails only when the file is finished
        with ArrayWriter(path) as writer:
            writer.write(rows[:, :, :10, :10])
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, 200_000))
    else:
        with ArrayWriter(path) as writer, Background(writer) as background:
            for _ in range(20):
                background.put(rows)
except AepipeError as error:
    print(error.exit_code, error.message, "|", error.hint)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file-size limit")
@pytest.mark.parametrize(
    ("name", "when"),
    [("a.npy", ""), ("a.npz", ""), ("a.npy", "late"), ("a.npz", "late"), ("a.csv", ""), ("folder", "")],
)
def test_a_full_disk_is_an_error_and_leaves_no_trace(tmp_path, name, when):
    path = tmp_path / name
    if name != "folder":
        path.write_text("old")
    python = [sys.executable, "-c", textwrap.dedent(FULL), str(path), when]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(python, capture_output=True, text=True, timeout=60, env=environment)
    assert done.stderr == ""
    assert done.stdout.startswith(f"1 Cannot write {path}: {os.strerror(errno.EFBIG)} | free some space")
    if name == "folder":
        assert listing(tmp_path) == []
    else:
        assert listing(tmp_path) == [name] and path.read_text() == "old"


@pytest.mark.parametrize("channels", [1, 3])
def test_folder_round_trip(tmp_path, channels):
    levels = np.random.default_rng(0).integers(0, 256, (7, channels, 9, 5), dtype=np.uint8)
    names = ["a.jpg", "b/c.jpeg", "b/d/e.png", "f", "x.jpg", "x.png", "ünï.bmp"]
    with FolderWriter(tmp_path / "out", names) as writer:
        writer.write(np.array([3, 0, 6]), levels[[3, 0, 6]].astype(np.float32) / 255)
        writer.write([1, 2, 4, 5], levels[[1, 2, 4, 5]].astype(np.float32) / 255)
        writer.write([], np.zeros((0, channels, 9, 5), np.float32))
        assert not (tmp_path / "out").exists()
    expected = ["a.png", "b/c.png", "b/d/e.png", "f.png", "x.jpg.png", "x.png.png", "ünï.png"]
    assert [name for name in listing(tmp_path / "out") if name.endswith("png")] == sorted(expected)
    assert listing(tmp_path)[0] == "out"
    for name, image in zip(expected, levels, strict=True):
        with Image.open(tmp_path / "out" / name) as file:
            assert file.mode == ("L" if channels == 1 else "RGB")
            assert np.array_equal(np.asarray(file).reshape(9, 5, channels), image.transpose(1, 2, 0))


def test_folder_names_that_meet_a_third(tmp_path):
    names = ["x.jpg", "x.png", "x.jpg.gif", "y.jpg"]
    with FolderWriter(tmp_path / "out", names) as writer:
        writer.write(range(4), np.zeros((4, 1, 2, 2), np.float32))
    assert listing(tmp_path / "out") == ["x.jpg.gif.png", "x.jpg.png", "x.png.png", "y.png"]
    with pytest.raises(BadInput, match="Two inputs"):
        FolderWriter(tmp_path / "again", ["a.jpg", "a.jpg"])


@pytest.mark.parametrize("name", ["../a.png", "a/../../b.png", "/etc/a.png", "", ".", "..", "nul\0.png"])
def test_folder_names_that_leave_it(tmp_path, name):
    with pytest.raises(BadInput, match="leads out"):
        FolderWriter(tmp_path / "out", [name])
    with pytest.raises(BadInput, match="leads out"), FolderWriter(tmp_path / "out", lambda index: name) as writer:
        writer.write([0], np.zeros((1, 1, 2, 2), np.float32))
    assert listing(tmp_path) == []


def test_folder_that_exists_and_is_empty_stays_the_same_one(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    before = target.stat().st_ino
    with pytest.raises(Stop), FolderWriter(target, ["a.jpg"]) as writer:
        writer.write([0], np.zeros((1, 1, 2, 2), np.float32))
        raise Stop
    assert listing(target) == []
    with FolderWriter(target, ["b/a.jpg"]) as writer:
        writer.write([0], np.zeros((1, 1, 2, 2), np.float32))
    assert listing(target) == ["b", "b/a.png"] and target.stat().st_ino == before


def test_folder_aborts_and_refuses(tmp_path):
    with pytest.raises(Stop), FolderWriter(tmp_path / "deep" / "out", ["a"]) as writer:
        writer.write([0], np.zeros((1, 1, 2, 2), np.float32))
        raise Stop
    with pytest.raises(BadInput, match="Samples of shape"), FolderWriter(tmp_path / "out", ["a"]) as writer:
        writer.write([0], np.zeros((1, 2, 2, 2), np.float32))
    with pytest.raises(AepipeError, match="exists"), FolderWriter(tmp_path / "out", lambda index: "same") as writer:
        writer.write([0, 1], np.zeros((2, 1, 2, 2), np.float32))
    assert listing(tmp_path) == []
    with FolderWriter(tmp_path / "none", []):
        pass
    assert listing(tmp_path) == ["none"]


# tables


def test_csv_round_trip(tmp_path):
    path = tmp_path / "scores.csv"
    with CsvWriter(path, ["index", "path", "mse"]) as writer:
        writer.write({"mse": np.array([0.1, 1e-9], np.float32), "index": np.arange(2), "path": ["a,b.png", 'ü"c.png']})
        writer.write({"index": [2], "path": ["bad\udcff"], "mse": np.array([0.25])})
        assert not path.exists()
    lines = path.read_bytes().split(b"\n")
    assert lines[:2] == [b"index,path,mse", b'0,"a,b.png",0.1']
    assert lines[2] == '1,"ü""c.png",1e-09'.encode() and lines[3:] == [b"2,bad\xff,0.25", b""]
    with pytest.raises(ValueError), CsvWriter(path, ["a", "b"]) as writer:
        writer.write({"a": [1, 2], "b": [1]})
    assert path.read_bytes().split(b"\n") == lines and listing(tmp_path) == ["scores.csv"]
    with CsvWriter(tmp_path / "none.csv", ["a", "b"]):
        pass
    assert (tmp_path / "none.csv").read_text() == "a,b\n"


@pytest.mark.parametrize("out", ["-", None])
def test_csv_on_stdout(capsys, out):
    with CsvWriter(out, ["a"]) as writer:
        writer.write({"a": np.array([1.5], np.float32)})
    assert capsys.readouterr().out == "a\n1.5\n"


def swallow(file: io.TextIOWrapper) -> None:
    """Closes a file whose buffer would fail once more."""
    with Path(os.devnull).open("w", encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), file.fileno())
    file.close()


def test_csv_on_a_stdout_that_fails(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    with pytest.raises(AepipeError, match="Cannot write stdout"), CsvWriter("-", ["a"]) as writer:
        writer.write({"a": ["ü"]})
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            monkeypatch.setattr(sys, "stdout", full)
            with pytest.raises(AepipeError, match="Cannot write stdout"), CsvWriter(None, ["a"]):
                pass
            swallow(full)
    reader, writer_end = os.pipe()
    os.close(reader)
    gone = os.fdopen(writer_end, "w")
    monkeypatch.setattr(sys, "stdout", gone)
    with pytest.raises(BrokenPipeError), CsvWriter("-", ["a"]):
        pass
    swallow(gone)
