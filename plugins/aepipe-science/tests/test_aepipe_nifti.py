"""NIfTI files that nibabel made, read as the same numbers, and volumes written for nibabel."""

from __future__ import annotations

import gzip
import sys

import aepipe
import numpy as np
import pytest
from aepipe.cli import run
from aepipe.images.data import open_images
from aepipe.testing import check_reader
from aepipe_science import nifti
from hypothesis import given, settings
from hypothesis import strategies as st

nibabel = pytest.importorskip("nibabel")

TYPES = ("uint8", "int16", "uint16", "int32", "float32", "float64", "int64")


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * 200).astype(dtype)


def test_it_keeps_the_contract_of_readers():
    check_reader(nifti)


@settings(max_examples=30, deadline=None)
@given(
    dtype=st.sampled_from(TYPES),
    sides=st.lists(st.integers(1, 4), min_size=3, max_size=5),
    ending=st.sampled_from([".nii", ".nii.gz"]),
    version=st.sampled_from(["Nifti1Image", "Nifti2Image"]),
    scale=st.sampled_from([None, (0.25, 0.0), (2.0, -1024.0)]),
    big=st.booleans(),
)
def test_what_nibabel_says_of_a_voxel_is_read(tmp_path_factory, dtype, sides, ending, version, scale, big):
    path = tmp_path_factory.mktemp("nifti") / f"a{ending}"
    stored = numbers(tuple(sides), dtype)
    kind = getattr(nibabel, version)
    header = kind.header_class(endianness=">" if big else "<")
    header.set_data_dtype(stored.dtype)
    image = kind(stored, np.diag([2.0, 2.0, 3.0, 1.0]), header)
    nibabel.save(image, path)
    if scale:  # nibabel itself turns numbers back by the scale when it saves them: these are to stay as they are
        content = bytearray(gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes())
        told = kind.header_class(bytes(content[: kind.header_class.sizeof_hdr]))
        told.set_slope_inter(*scale)
        content[: kind.header_class.sizeof_hdr] = told.binaryblock
        path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    wanted = nibabel.load(path).get_fdata()
    wanted = wanted.reshape(wanted.shape + (1,) * (5 - wanted.ndim))
    read = nifti(str(path)).load("train")
    order = np.random.default_rng(1).permutation(len(read))
    values = read.read(order)
    assert values.shape == (len(order), *read.shape) and values.dtype == read.dtype
    assert values.dtype.kind == "f" if scale else values.dtype == dtype
    for at, index in enumerate(order):
        for channel in range(read.shape[0]):
            assert np.array_equal(values[at, channel], wanted[..., index, channel].T.astype(values.dtype))


@pytest.mark.parametrize(("shape", "own"), [((1, 1, 2, 3, 4), (4, 3, 2)), ((5, 2, 2, 3, 4), (4, 3, 2, 5, 2))])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nibabel_reads_what_is_written(tmp_path, shape, own, ending):
    path, samples = tmp_path / f"a{ending}", numbers(shape, "int16")
    with nifti.writer(path, ending=ending) as file:
        file.write(samples[:2])
        file.write(samples[2:])
    image = nibabel.load(path)
    data = np.asarray(image.dataobj)
    assert image.shape == own and data.dtype == np.int16
    assert image.header["sform_code"] == 0 and image.header["qform_code"] == 0, "no place in space is claimed"
    data = data.reshape(*own, *[1] * (5 - len(own)))
    assert np.array_equal(data.transpose(3, 4, 2, 1, 0), samples)


def test_more_volumes_than_the_first_version_can_count_are_written_in_the_second(tmp_path):
    samples = numbers((32768, 1, 1, 1, 2), "uint8")
    with nifti.writer(tmp_path / "a.nii") as file:
        file.write(samples)
    image = nibabel.load(tmp_path / "a.nii")
    assert isinstance(image, nibabel.Nifti2Image) and image.shape == (2, 1, 1, 32768)
    assert np.array_equal(nifti(str(tmp_path / "a.nii")).load("test").read(np.array([32767, 3])), samples[[32767, 3]])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_damaged_files_are_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    nibabel.save(nibabel.Nifti1Image(numbers((20, 20, 20), "int16"), np.eye(4)), path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:100], b"", b"no volume" * 100):
        path.write_bytes(content)
        with pytest.raises(aepipe.BadInput, match=f"a{ending} is no NIfTI file"):
            nifti(str(path)).load("train").read(np.array([0]))


def test_colours_and_complex_numbers_are_refused(tmp_path):
    path = tmp_path / "a.nii"
    for dtype in ([("R", "u1"), ("G", "u1"), ("B", "u1")], np.complex64):
        nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), dtype), np.eye(4)), path)
        with pytest.raises(aepipe.BadInput, match="save real numbers"):
            nifti(str(path)).load("train")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.nii").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(aepipe.BadInput, match="nibabel, which is not installed") as caught:
        nifti(str(tmp_path / "a.nii")).load("train")
    assert "aepipe-science[nifti]" in caught.value.hint
    check_reader(nifti)


def test_a_folder_of_packed_and_plain_files_is_restored_in_its_form(tmp_path, capfd):
    volumes = np.random.default_rng(0).integers(0, 1000, (6, 1, 4, 3, 2), np.int16)
    folder, bundle = tmp_path / "in", tmp_path / "bundle"
    folder.mkdir()
    for at, volume in enumerate(volumes):
        ending = ".nii.gz" if at % 2 else ".NII"
        nibabel.save(nibabel.Nifti1Image(volume[0].T, np.eye(4)), folder / f"{at}{ending.lower()}")
        (folder / f"{at}{ending.lower()}").rename(folder / f"{at}{ending}")
    source = open_images(str(folder), range="0..1000")
    assert source.shape == (1, 4, 3, 2) and np.array_equal(source.read_raw(np.arange(6)), volumes)
    networks = {"encoder": "mlp", "decoder": "mlp", "latent_dim": 2, "densities": ()}
    aepipe.fit(str(folder), range="0..1000", epochs=1, out=tmp_path / "run", show=False, **networks).export(bundle)
    wanted = aepipe.load(bundle, provider="cpu").reconstruct(volumes)
    for out in ("out/", "all.nii.gz"):
        command = ["infer", "reconstruct", str(bundle), str(folder), "--provider", "cpu", "-o", f"{tmp_path}/{out}"]
        assert run(command) == 0, capfd.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{at}.nii" for at in range(6)]
    each = np.stack([nifti(str(tmp_path / "out" / f"{at}.nii")).load("test").read(np.array([0]))[0] for at in range(6)])
    together = nifti(str(tmp_path / "all.nii.gz")).load("test").read(np.arange(6))
    assert each.dtype == together.dtype == np.int16 and np.array_equal(each, together)
    assert np.abs(each - wanted).max() <= 1, "raw units, rounded to the type"
