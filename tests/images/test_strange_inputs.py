"""Inputs that are not what they seem: each is read rightly, or refused in a sentence; what is left out is said."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from aepipe import BadInput
from aepipe.images import decoding
from aepipe.images.data import open_images, open_test_split
from aepipe.images.folders import DEEPEST
from aepipe.images.image_files import _pool, decode_all
from aepipe.images.splits import choose_split, split_of
from aepipe.images.taken import printable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from tests.helpers.images import everything

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


def save(path: Path, array=GREY, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path, **options)
    return path


def png(array=GREY) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def refusal(what, **options) -> BadInput:
    with pytest.raises(BadInput) as caught:
        everything(open_images(what, **options))
    assert caught.value.message and caught.value.hint
    assert "\n" not in caught.value.message and len(caught.value.message) < 700
    return caught.value


# more than 8 bits, and several pages


def deep_ppm(bits: int) -> bytes:
    return b"P6 2 2 %d\n" % (2**bits - 1) + bytes(24)


def deep_png() -> bytes:
    """A PNG of 16 bits a channel in colour, which Pillow reads as 8."""
    head = (2).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0])
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress((b"\0" + bytes(12)) * 2)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.ppm", deep_ppm(16)), ("a.ppm", deep_ppm(12)), ("a.pgm", b"P5 1 1 1000\n\1\0"), ("a.png", deep_png())],
)
def test_more_than_8_bits_in_any_format(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for options in ({}, {"shape": (1, 8, 8)}, {"shape": (3, 8, 8)}):
        assert "more than 8 bits" in refusal(tmp_path / name, **options).message


@pytest.mark.skipif(".jp2" not in decoding.ENDINGS, reason="Pillow cannot write JPEG 2000")
def test_more_than_8_bits_in_jpeg_2000(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "deep.jp2")
    assert "more than 8 bits" in refusal(tmp_path / "deep.jp2").message
    save(tmp_path / "plain.jp2")
    assert everything(open_images(tmp_path / "plain.jp2")).shape == (1, 1, 8, 8)


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png", "avif"])
def test_pages_are_refused(tmp_path, ending):
    if f".{ending}" not in decoding.ENDINGS:
        pytest.skip(f"this Pillow has no {ending}")
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    path = tmp_path / f"x.{ending}"
    for count in (1, 2, 3):
        pages[0].save(path, save_all=True, append_images=pages[1:count])
        for options in ({}, {"shape": (3, 8, 8)}):
            if count == 1:
                assert len(open_images(path, **options)) == 1
            else:
                assert "several pages" in refusal(path, **options).message


def test_a_reduced_copy_in_a_tiff_is_no_page(tmp_path):
    small = Image.fromarray(GREY[::2, ::2])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(GREY).save(tmp_path / "x.tif", save_all=True, append_images=[small])
    with Image.open(tmp_path / "x.tif") as image:
        assert image.n_frames == 2
    np.testing.assert_array_equal(everything(open_images(tmp_path / "x.tif"))[0, 0], GREY)


# formats and sizes


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4\n", b"GIMP", b""])
def test_other_formats_are_never_tried(tmp_path, content, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", never)
    for ending in sorted(decoding.ENDINGS):
        (tmp_path / f"x{ending}").write_bytes(content)
        refusal(tmp_path / f"x{ending}")


@quick
@given(st.sampled_from(sorted(decoding.ENDINGS)), st.binary(max_size=200), st.booleans())
def test_no_content_makes_a_traceback(folder, ending, content, real):
    path = folder / f"x{ending}"
    if real:  # the beginning of a real file, and then something else
        save(path)
        content = path.read_bytes()[: len(content)] + content
    path.write_bytes(content)
    try:
        everything(open_images(path))
    except BadInput as error:
        assert error.hint


def test_every_ending_is_read(tmp_path):
    kinds = {".dib": "DIB", ".jfif": "JPEG", ".jpe": "JPEG", ".pnm": "PPM", ".tga": "TGA"}
    for ending in sorted(decoding.ENDINGS):
        Image.new("RGB", (28, 28), "red").save(tmp_path / f"x{ending}", kinds.get(ending))
    source = open_images(tmp_path)
    assert everything(source).shape == (len(decoding.ENDINGS), 3, 28, 28)
    assert "left out" not in source.describe()


def test_sizes_are_bounded_and_pillow_says_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    path = save(tmp_path / "x.png")
    exif = Image.Exif()
    exif[0x112] = 6
    save(tmp_path / "y.jpg", exif=exif.tobytes()[:-9])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert everything(open_images(tmp_path, shape=(1, 8, 8))).shape == (2, 1, 8, 8)
        before = list(warnings.filters)
        assert everything(open_images(path)).shape == (1, 1, 8, 8)
        assert list(warnings.filters) == before
    assert not said and capfd.readouterr().err == ""
    assert Image.MAX_IMAGE_PIXELS == 50, "what a Python user has set stands again"
    monkeypatch.setenv("AEPIPE_MAX_PIXELS", "63")
    assert "8x8 are more than 63 pixels" in refusal(path).message
    with pytest.raises(BadInput, match="too large"):
        open_images(path, image_size=9)


# whole pixels beside something odd


def test_odd_metadata_does_not_hide_pixels(tmp_path):
    image = Image.fromarray(GREY)
    bad = b"\0\x08\0\x02\x01\x12\0\x03"
    image.save(tmp_path / "exif.png", exif=bad)
    image.save(tmp_path / "exif.webp", exif=b"This is not EXIF", lossless=True)
    image.save(tmp_path / "icc.png", icc_profile=b"odd")
    image.save(tmp_path / "icc.tif", icc_profile=b"odd")
    texts = PngImagePlugin.PngInfo()
    texts.add_text("note", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    image.save(tmp_path / "text.png", pnginfo=texts)
    body = png()
    (tmp_path / "crc.png").write_bytes(body[:33] + chunk(b"tEXt", b"a\0b")[:-4] + b"oops" + body[33:])
    for path in sorted(tmp_path.iterdir()):
        for options in ({}, {"shape": (1, 8, 8)}):
            np.testing.assert_array_equal(everything(open_images(path, **options))[0, 0], GREY, err_msg=path.name)


def test_odd_colours_are_read_or_named(tmp_path):
    Image.new("LAB", (8, 8), (255, 128, 128)).save(tmp_path / "lab.tif")
    for channels in (1, 3):
        try:
            assert everything(open_images(tmp_path / "lab.tif", channels=channels)).min() > 250
        except BadInput as error:
            assert "lab.tif is in the colours LAB" in error.message
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg")
    assert everything(open_images(tmp_path / "cmyk.jpg")).shape == (1, 3, 8, 8)
    palette = Image.new("P", (8, 8))
    palette.putpalette([10, 20, 30])
    palette.save(tmp_path / "p.png", transparency=bytes([255, 0]))
    assert everything(open_images(tmp_path / "p.png"))[0, :, 0, 0].tolist() == [10, 20, 30]


# colours of a folder


@quick
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.booleans())
def test_all_files_decide_the_colours(tmp_path_factory, colours, sized):
    folder = tmp_path_factory.mktemp("mixed")
    for k, colour in enumerate(colours):
        save(folder / f"{k}.png", np.dstack([GREY] * 3) if colour else GREY)
    source = open_images(folder, **({"image_size": 6} if sized else {}))
    assert source.shape[0] == (3 if any(colours) else 1)
    mixed = any(colours) and not all(colours)
    said = f"{sum(colours)} of the files are in colour and {len(colours) - sum(colours)} grey"
    assert (said in source.describe()) == mixed
    assert open_images(folder, channels=1).shape[0] == 1


def test_a_limit_looks_at_few_files(tmp_path, monkeypatch):
    for k in range(9):
        save(tmp_path / f"{k}.png")
    seen = []
    real = decoding.check_image
    monkeypatch.setattr(decoding, "check_image", lambda image, name: (seen.append(Path(name).name), real(image, name)))
    source = open_images(f"{tmp_path}[2:]", limit=4)
    everything(source)
    assert set(seen) == {"2.png", "3.png", "4.png", "5.png"}
    assert source.describe().startswith(f"input: {tmp_path}[2:], 4 of 9 grey 8×8 images in a folder")


# splits of folders


def tree(root: Path, *names: str) -> Path:
    for k, name in enumerate(names):
        save(root / name, np.full((8, 8), k, np.uint8))
    return root


cases = st.sampled_from([str.lower, str.upper, str.title])


@quick
@given(
    st.sampled_from(["train", "training"]), st.sampled_from(["test", "val", "valid", "validation", "dev"]), cases, cases
)
def test_nothing_to_test_with_is_trained_on(tmp_path_factory, train, other, first, second):
    root = tree(tmp_path_factory.mktemp("splits"), f"{first(train)}/a.png", f"{second(other)}/b.png")
    source = open_images(root, split="train")
    assert source.paths == ["a.png"] and f"1 folder of other splits ({second(other)}/)" in source.describe()
    assert open_images(root).paths == ["b.png"]
    assert (open_test_split(str(root), (1, 8, 8)) is None) == (other != "test")


@pytest.mark.parametrize("folder", ["val", "Test", "DEV", "test_images", "val2017"])
def test_a_folder_to_test_with_and_none_to_train_on(tmp_path, folder):
    tree(tmp_path, f"{folder}/a.png", "cats/b.png", "c.png")
    assert folder in refusal(tmp_path, split="train").message
    assert len(open_images(tmp_path)) == 3


def test_splits_lie_in_categories_too(tmp_path):
    tree(tmp_path, "bottle/train/a.png", "bottle/test/b.png", "cable/Train/c.png", "cable/Test/d.png")
    assert open_images(tmp_path, split="train").paths == ["bottle/train/a.png", "cable/Train/c.png"]
    assert open_images(tmp_path).paths == ["bottle/test/b.png", "cable/Test/d.png"]
    tree(tmp_path, "dogs/val/e.png", "dogs/f.png")
    assert "val" in refusal(tmp_path, split="train").message


def test_two_folders_of_one_split(tmp_path):
    tree(tmp_path, "trainA/a.png", "trainB/b.png", "testA/c.png", "testB/d.png")
    assert "trainA, trainB" in refusal(tmp_path, split="train").message


def test_a_class_of_trains_is_no_split(tmp_path):
    tree(tmp_path, "bus/a.png", "train/b.png")
    assert open_images(tmp_path, split="train").paths == ["bus/a.png", "train/b.png"]
    assert choose_split(["bus", "train"], "train", "x") == (None, [])
    names = ["trainers", "contest", "value", "testimony", "test-tubes", "retrain", "val-d-isere"]
    assert [split_of(name) for name in names] == [None] * len(names)


# links, pipes and depth


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_never_opened(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as own:
            own.bind("odd")
    else:
        odd = Path("/dev/zero")
    save(tmp_path / "d" / "a.png")
    (tmp_path / "d" / "b.png").symlink_to(odd)
    (tmp_path / "d.npz").symlink_to(odd)
    for what in (tmp_path / "d", tmp_path / "d" / "b.png", tmp_path / "d.npz", odd):
        assert f"is a {kind}" in refusal(what).message
        assert f"is a {kind}" in refusal(what, shape=(1, 8, 8)).message


def test_links_out_of_the_folder(tmp_path):
    save(tmp_path / "other" / "x.png")
    root = save(tmp_path / "root" / "a" / "a.png").parent.parent
    (root / "folder").symlink_to(tmp_path / "other", target_is_directory=True)
    (root / "a" / "up").symlink_to(root, target_is_directory=True)
    (root / "file.png").symlink_to(tmp_path / "other" / "x.png")
    source = open_images(root)
    assert source.paths == ["a/a.png", "file.png"]
    assert "left out: 2 links to folders" in source.describe()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "all").symlink_to(root, target_is_directory=True)
    assert "but 1 link to folder" in refusal(tmp_path / "links").message
    (tmp_path / "given").symlink_to(root, target_is_directory=True)
    assert len(open_images(tmp_path / "given")) == 2, "the folder that was given may be a link"


def test_the_depth_is_bounded(tmp_path):
    folder = tmp_path
    for _ in range(DEEPEST + 1):
        folder = folder / "d"
    save(folder / "x.png")
    assert "64 folders" in refusal(tmp_path).message
    assert len(open_images(tmp_path / "d")) == 1


# archives


images_of = st.sampled_from(["x_{}", "{}_images", "{}", "{}_x", "X_{}", "images_{}"])
labels_of = st.sampled_from(["y_{}", "{}_labels", "labels_{}"])


@quick
@given(
    images_of, labels_of, st.permutations(["train", "test", "val"]), st.integers(1, 4), st.none() | st.integers(1, 5)
)
def test_archives_tell_splits_by_names(folder, images, labels, order, width, limit):
    counts = {"train": 7, "test": 3, "val": 2}
    arrays = {}
    for split in order:
        arrays[images.format(split)] = np.full((counts[split], 4, width), counts[split], np.uint8)
        arrays[labels.format(split)] = np.arange(counts[split]).reshape(-1, 1)
    np.savez_compressed(folder / "a.npz", **arrays)
    for split in ("train", "test"):
        source = open_images(folder / "a.npz", split=split, limit=limit)
        count = min(counts[split], limit or 9)
        assert (everything(source) == counts[split]).all() and len(source) == count
        assert source.labels.tolist() == list(range(count))
        assert f"{split} split" in source.describe() and "2 arrays" in source.describe()
    found = open_test_split(str(folder / "a.npz"), (1, 4, width))
    assert found is not None and len(found) == 3
    named = images.format("val")
    assert len(open_images(f"{folder}/a.npz[{named}]", split="train")) == 2
    assert len(open_images(f"{folder}/a.npz[{named}][1:]", split="train")) == 1


def test_archives_that_do_not_say_which_array(tmp_path):
    path, a, b = tmp_path / "x.npz", np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4, 6), np.uint8)
    np.savez(path, first=a, second=b)
    said = refusal(path)
    assert "first [3, 4, 5]" in said.message and "second [3, 4, 6]" in said.message
    assert "FILE.npz[first]" in said.hint
    assert open_images(f"{path}[second]").shape == (1, 4, 6)
    assert "did you mean 'second'" in refusal(f"{path}[secund]").hint
    np.savez(path, x=a, masks=b)
    assert open_images(path).shape == (1, 4, 5) and "1 array (masks [3, 4, 6])" in open_images(path).describe()
    np.savez(path, x_train=a, x_val=b)
    assert "no images of the test split" in refusal(path).message
    assert len(open_images(path, split="train")) == 3
    np.savez(path, images=a, test_images=b)
    assert "does not say which" in refusal(path).message
    np.savez(path, **{f"part{k}": a for k in range(500)})
    assert "and 492 more" in refusal(path).message
    np.save(tmp_path / "x.npy", a)
    assert "no arrays with names" in refusal(f"{tmp_path}/x.npy[a]").message
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for k in range(500):
            archive.writestr(f"photos/{k}.png", png())
    assert "500 files and no array" in refusal(tmp_path / "photos.zip").message


def test_a_limit_reads_few_rows_of_an_archive(tmp_path):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (10**7, 1000, 1000)})
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("images.npy", file.getvalue() + bytes(5 * 10**6))
    source = open_images(tmp_path / "huge.npz", limit=4)
    assert len(source) == 4 and "4 of 10000000" in source.describe()
    refusal(tmp_path / "huge.npz", limit=6)


# what was taken


def test_a_path_beside_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "./digits" not in open_images("digits").describe()
    tree(tmp_path / "digits", "a.png")
    said = open_images("digits", limit=20).describe()
    assert said.startswith("input: digits, 20 of 359 grey 28×28 images of the built-in data set, test split")
    assert "./digits" in said
    assert len(open_images("./digits")) == 1


def test_what_was_left_out_is_counted(tmp_path):
    tree(tmp_path, "a.png", ".hidden.png", ".git/b.png", "c/d.png")
    for name in ("photo.heic", "c/notes.TXT", "raw", "bad\x1b[31m.\u202e"):
        (tmp_path / name).write_text("x")
    source = open_images(tmp_path)
    said = source.describe()
    for part in (
        "2 grey 8×8 images in a folder",
        "1 hidden file",
        "1 hidden folder",
        "4 files with other endings",
        ".heic",
    ):
        assert part in said
    assert said.isprintable() and source.record()["left_out"]["hidden folder"] == 1
    assert source.record()["count"] == 2 and source.record()["kind"] == "folder"


@quick
@given(st.text())
def test_what_is_said_is_printable(text):
    assert printable(text).isprintable()


# from Python


class Squares:
    """A data set as torch has them."""

    targets = (0, 1, 2)

    def __init__(self, give):
        self.give = give

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index >= 3:
            raise IndexError
        return self.give(np.full((8, 8), index * 80, np.uint8)), index


def test_what_python_users_hand_over(tmp_path):
    torch = pytest.importorskip("torch")
    paths = [str(save(tmp_path / f"{k}.png", np.full((8, 8), 80 * k, np.uint8))) for k in range(3)]
    pictures = [Image.open(path) for path in paths]
    array = np.stack([np.asarray(each) for each in pictures])
    file = io.BytesIO()
    np.save(file, array)
    file.seek(0)
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(array), torch.arange(3))
    given = [
        [torch.from_numpy(array)],
        [paths, tuple(map(Path, paths)), pictures, [io.BytesIO(Path(path).read_bytes()) for path in paths], file],
        [Squares(give) for give in (np.asarray, torch.from_numpy, Image.fromarray, lambda each: each[None])],
        [tensors, torch.utils.data.DataLoader(tensors, 2, shuffle=True), list(torch.from_numpy(array))],
    ]
    for what in (each for group in given for each in group):
        if hasattr(what, "seek"):
            what.seek(0)
        source = open_images(what)
        np.testing.assert_array_equal(everything(source)[:, 0], array)
        assert source.describe().startswith("input: array, 3 grey 8×8 images")
    assert open_images(Squares(np.asarray)).labels.tolist() == [0, 1, 2]
    floats = Squares(lambda each: torch.from_numpy(each).float() / 255)
    np.testing.assert_allclose(everything(open_images(floats))[:, 0], array / np.float32(255))
    assert open_images(io.BytesIO(png()), shape=(3, 4, 4)).shape == (3, 4, 4)


def nothing_to_read() -> list:
    return [None, 3, 2.5, {}, {"images": 1}, {1, 2}, [], b"\x89PNG", "", (k for k in "ab"), object(), int, [None], [{}]]


@pytest.mark.parametrize("what", nothing_to_read(), ids=lambda each: type(each).__name__)
def test_what_is_no_image_is_refused(what):
    assert "--" not in refusal(what).hint


def test_odd_objects_from_python(tmp_path):
    class Closed(io.BytesIO):
        def read(self, *_):
            raise OSError("gone")

    for what in (io.StringIO("text"), Closed(), io.BytesIO(b""), io.BytesIO(b"no image"), io.BytesIO(png()[:50])):
        refusal(what)
    for give in (lambda _: None, lambda _: "a.png", lambda each: each[:0], lambda each: 1 / 0):
        refusal(Squares(give))
    refusal([str(tmp_path / "gone.png")])
    refusal(f"./{'long' * 1000}")
    refusal(np.ma.array(np.zeros((2, 8, 8)), mask=np.eye(8)[None].repeat(2, 0)))
    torch = pytest.importorskip("torch")
    refusal(torch.zeros(2, 8, 8, device="meta"))
    assert everything(open_images(torch.zeros(2, 8, 8, dtype=torch.bfloat16))).dtype == np.float32
    save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    assert "skip_bad=True" in refusal(tmp_path).hint and "--" not in refusal(tmp_path).hint


numbers = st.sampled_from([int, np.int64, np.uint8, np.int32])


@quick
@given(numbers, numbers, numbers)
def test_numbers_of_numpy(a, b, c):
    source = open_images(Image.fromarray(GREY), limit=a(1), image_size=(b(6), c(5)), channels=c(3))
    assert source.shape == (3, 6, 5) and all(type(each) is int for each in source.shape)
    assert open_images(Image.fromarray(GREY), image_size=b(4)).shape == (1, 4, 4)


@pytest.mark.parametrize("wrong", [{"limit": 2.5}, {"limit": "2"}, {"image_size": (1, 2, 3)}, {"channels": 1.0}])
def test_numbers_that_are_none(wrong):
    with pytest.raises(BadInput):
        open_images(Image.fromarray(GREY), **wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_decoding_goes_on_in_a_child():
    program = (
        "import os, numpy as np\n"
        "from aepipe.images.image_files import decode_all\n"
        "read = lambda i: np.zeros((1, 2, 2), np.uint8)\n"
        "decode_all(8, (1, 2, 2), read, threads=2)\n"
        "child = os.fork()\n"
        "if not child: decode_all(8, (1, 2, 2), read, threads=2); os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "7\n", done.stderr
    assert _pool() is _pool() and len(decode_all(3, (1, 2, 2), lambda i: np.zeros((1, 2, 2), np.uint8))) == 3
