"""`--shard I/N` and `aepipe infer join`: the parts of a job join to what one run writes, bit for bit."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.images.data import open_images
from aepipe.infer.shards import Shard, drawn
from PIL import Image

from tests.helpers.commands import python
from tests.helpers.folders import contents

COUNT = 11
SPLITS = [1, 2, 3, 13]  # more than there are images leave shards empty


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven digits as images.npy and, under the names of files, in the folder photos."""
    home = tmp_path_factory.mktemp("home")
    images = open_images("digits", limit=COUNT).read(np.arange(COUNT))[:, 0]
    np.save(home / "images.npy", images)
    for k, image in enumerate(images):
        path = home / "photos" / f"{'ab'[k % 2]}" / f"{k}.{'png' if k % 3 else 'bmp'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return home


@pytest.fixture
def infer(call, kept_bundle: Path):
    """`aepipe infer TASK BUNDLE ARGS` on the CPU in batches of four; `code` is how it must end."""

    def inner(task: str, *arguments: object, code: int = 0):
        outcome = call("infer", "--provider", "cpu", "--batch-size", 4, task, kept_bundle, *arguments)
        assert outcome.code == code, outcome.err
        return outcome

    return inner


@pytest.fixture
def sharded(infer):
    """Run all shards of a task, the last one first."""

    def inner(task: str, *arguments: object, of: int) -> None:
        for number in range(of, 0, -1):
            infer(task, *arguments, "--shard", f"{number}/{of}")

    return inner


def content(path: Path) -> object:
    """What must be the same in two results: an archive also holds the time at which it was written."""
    if path.suffix != ".npz":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("of", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("total", [0, 1, 10, 63, 1000])
def test_blocks_are_contiguous_and_balanced(total: int, of: int) -> None:
    parts = [Shard(number, of).part(total) for number in range(1, of + 1)]
    assert [k for part in parts for k in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


JOBS = {
    "encode npy": ["encode", "images.npy", "codes.npy"],
    "encode npz": ["encode", "images.npy", "codes.npz"],
    "encode npz of files": ["encode", "photos", "codes.npz"],
    "encode csv": ["encode", "photos", "codes.csv"],
    "reconstruct npy": ["reconstruct", "photos", "copies.npy"],
    "denoise npy": ["denoise", "images.npy", "restored.npy", "--corrupt", "gaussian:sigma=0.5", "--seed", 7],
    "score csv": ["score", "images.npy", "scores.csv"],
    "limit": ["encode", "images.npy", "codes.npy", "--limit", 5],
    "slice": ["encode", "images.npy[3:9]", "codes.npy"],
}


@pytest.mark.parametrize("of", SPLITS)
@pytest.mark.parametrize("job", JOBS)
def test_parts_join_to_what_one_run_writes(job: str, of: int, infer, sharded, call, home, tmp_path: Path) -> None:
    task, what, name, *more = JOBS[job]
    given = f"{home}/{what}"
    (tmp_path / "whole").mkdir()
    infer(task, given, "-o", tmp_path / "whole" / name, *more)
    out = tmp_path / "parts" / name
    sharded(task, given, "-o", out, *more, of=of)
    assert not out.exists() and len(list(out.parent.iterdir())) == of, "each shard writes its own part and nothing else"
    joined = call("infer", "join", out)
    assert (joined.code, joined.err) == (0, f"{out}: {of} parts joined\n")
    assert content(out) == content(tmp_path / "whole" / name)


@pytest.mark.parametrize("of", SPLITS)
def test_samples_and_decoded_codes_join(of: int, infer, sharded, call, home, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.random.default_rng(1).standard_normal((COUNT, 8)))
    for task, *arguments in (["sample", "--count", 10, "--seed", 3], ["decode", tmp_path / "codes.npy"]):
        infer(task, *arguments, "-o", tmp_path / f"{task}-whole.npy")
        sharded(task, *arguments, "-o", tmp_path / f"{task}.npy", of=of)
        assert call("infer", "join", tmp_path / f"{task}.npy").code == 0
        assert content(tmp_path / f"{task}.npy") == content(tmp_path / f"{task}-whole.npy")
        infer(task, *arguments, "-o", tmp_path / f"{task}-whole")
        sharded(task, *arguments, "-o", tmp_path / task, of=of)
        assert contents(tmp_path / task) == contents(tmp_path / f"{task}-whole")


@pytest.mark.parametrize("seed", [0, 3])
def test_noise_of_a_shard_is_that_of_the_whole(seed: int, kept_bundle: Path) -> None:
    whole = np.random.default_rng(seed).standard_normal((700_000, 8), dtype=np.float32)
    for part in (range(0, 9), range(3, 700), range(650_001, 650_007), range(5, 5)):
        got = list(drawn(seed, 8, part, 64))
        np.testing.assert_array_equal(
            np.concatenate([np.empty((0, 8), np.float32), *got]), whole[part.start : part.stop]
        )
    with aepipe.load(kept_bundle, "cpu") as model:
        noise = np.concatenate(list(drawn(seed, 8, range(9), 2)))
        expected = np.concatenate(list(model.sample_codes(9, seed=seed)))
        np.testing.assert_array_equal(model.run("sample", noise, "gaussian"), expected)


@pytest.mark.parametrize("of", SPLITS)
@pytest.mark.parametrize("what", ["photos", "images.npy"])
def test_shards_share_one_folder(what: str, of: int, infer, sharded, home, tmp_path: Path) -> None:
    infer("reconstruct", home / what, "-o", tmp_path / "whole")
    sharded("reconstruct", home / what, "-o", tmp_path / "shared", of=of)
    assert len(contents(tmp_path / "shared")) == COUNT and contents(tmp_path / "shared") == contents(tmp_path / "whole")
    infer("reconstruct", home / what, "-o", tmp_path / "shared", "--shard", "1/2")  # a launcher tries again
    assert contents(tmp_path / "shared") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared", "whole"]


def test_an_image_never_replaces_a_different_one(infer, home, tmp_path: Path) -> None:
    taken = Path(shutil.copytree(home / "photos", tmp_path / "taken"))
    before = contents(taken)
    outcome = infer("reconstruct", home / "photos", "-o", taken, "--shard", "1/2", code=2)
    assert ".png exists and is not this job's image" in outcome.err and "the same command continues" in outcome.err
    assert {name: what for name, what in contents(taken).items() if not name.startswith(".")} == before


def test_bad_images_are_left_out_of_every_part(infer, sharded, call, home, tmp_path: Path) -> None:
    images = np.load(home / "images.npy") / np.float32(255)
    images[[0, 1, 2, 3, 9]] = np.nan
    np.save(tmp_path / "spoiled.npy", images)
    for name in ("codes.npy", "codes.csv"):
        infer("encode", tmp_path / "spoiled.npy", "-o", tmp_path / f"whole-{name}", "--skip-bad")
        sharded(
            "encode", tmp_path / "spoiled.npy", "-o", tmp_path / name, "--skip-bad", of=3
        )  # of the first nothing is left
        joined = call("infer", "join", tmp_path / name)
        assert joined.code == 0 and ("were bad images left out?" in joined.err) == name.endswith("npy")
        assert content(tmp_path / name) == content(tmp_path / f"whole-{name}")
    assert np.load(tmp_path / "codes.1-of-3.npy").shape == (0, 8)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/2/3", "1.0/2", "/", ""])
def test_what_is_no_shard(text: str, call) -> None:
    outcome = call("infer", "encode", "BUNDLE", "digits", "-o", "x.npy", "--shard", text)
    assert outcome.code == 2 and "write I/N, such as 3/8" in outcome.err


def test_what_cannot_be_made_in_shards(infer, home, tmp_path: Path) -> None:
    for task in ("reconstruct", "denoise", "interpolate"):
        outcome = infer(task, home / "images.npy", "-o", tmp_path / "x.png", "--shard", "1/2", code=2)
        assert "one p" in outcome.err and outcome.err.count("\n") == 2
    infer("sample", "-o", tmp_path / "x.png", "--shard", "1/2", code=2)
    infer("interpolate", home / "images.npy", "-o", tmp_path / "x.npy", "--shard", "1/2", code=2)
    infer("encode", home / "images.npy", "-o", tmp_path / "x.txt", "--shard", "1/2", code=2)
    outcome = infer("encode", home / "images.npy", "-o", f"{tmp_path}/x/", "--shard", "1/2", code=2)
    assert "does not write a folder" in outcome.err
    (tmp_path / "file").touch()
    infer("reconstruct", home / "images.npy", "-o", tmp_path / "file", "--shard", "1/2", code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_shard_may_stand_before_the_task_and_go_to_stdout(call, kept_bundle: Path, home) -> None:
    outcome = call("infer", "--shard", "2/3", "score", kept_bundle, home / "images.npy", "-o", "-")
    assert [line.partition(",")[0] for line in outcome.out.splitlines()] == ["index", "3", "4", "5", "6"]


def parts(folder: Path, ending: str, lengths: tuple[int, ...], of: int | None = None) -> Path:
    """Parts as shards write them."""
    start = 0
    for number, length in enumerate(lengths, 1):
        path = folder / f"x.{number}-of-{of or len(lengths)}{ending}"
        rows = np.arange(start, start + length, dtype=np.float32)[:, None].repeat(3, 1)
        if ending == ".csv":
            path.write_text("index,z\n" + "".join(f"{k},0.5\n" for k in range(start, start + length)))
        elif ending == ".npz":
            np.savez(path, codes=rows)
        else:
            np.save(path, rows)
        start += length
    return folder / f"x{ending}"


@pytest.mark.parametrize("ending", [".npy", ".npz", ".csv"])
def test_join_names_what_is_missing_or_foreign(ending: str, call, tmp_path: Path) -> None:
    def refused(*words: str) -> None:
        outcome = call("infer", "join", out)
        assert outcome.code == 2 and not out.exists(), outcome.err
        assert [word for word in words if word not in outcome.err] == [], outcome.err

    out = tmp_path / f"x{ending}"
    refused("there are no parts of", f"x.1-of-8{ending}")
    parts(tmp_path, ending, (4, 4, 4))
    second, third = tmp_path / f"x.2-of-3{ending}", tmp_path / f"x.3-of-3{ending}"
    third.rename(tmp_path / "kept")
    refused(f"x.3-of-3{ending} of the 3 parts", "is missing", "--shard 3/3")
    (tmp_path / "kept").rename(third)
    other = tmp_path / f"x.2-of-4{ending}"
    other.write_bytes(second.read_bytes())
    refused(other.name, "not parts of one job")
    other.rename(tmp_path / f"x.4-of-3{ending}")
    refused(f"x.4-of-3{ending}", "not parts of one job")
    (tmp_path / f"x.4-of-3{ending}").unlink()
    kept = third.read_bytes()
    third.write_bytes(b"index,other\n9,1\n" if ending == ".csv" else kept[:50])
    refused(third.name)
    third.write_bytes(second.read_bytes() if ending == ".csv" else b"")
    if ending == ".csv":
        refused(third.name, "does not go on")
    else:
        refused(third.name, "holds no array")
        (np.save if ending == ".npy" else np.savez)(third, np.zeros((4, 3)))
        refused(third.name, "float64 [N, 3]", "not of one job")
    if ending == ".npy":
        third.write_bytes(kept[:-1])
        refused(third.name, "is truncated")
    third.write_bytes(kept)
    assert call("infer", "join", out).code == 0 and out.exists()


def test_join_of_what_has_no_parts(call, tmp_path: Path) -> None:
    for out, word in (("x.png", "no parts"), ("folder", "needs no joining"), ("nowhere/x.npy", "there are no parts")):
        outcome = call("infer", "join", tmp_path / out)
        assert outcome.code == 2 and word in outcome.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_part_that_is_a_pipe(call, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.1-of-1.npy")
    outcome = call("infer", "join", tmp_path / "x.npy")
    assert outcome.code == 2 and "x.1-of-1.npy is a pipe" in outcome.err


PEAK = """
import sys
from aepipe.infer.shards import join
join(sys.argv[1])
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
@pytest.mark.parametrize("ending", [".npy", ".csv"])
def test_join_needs_no_memory(ending: str, tmp_path: Path) -> None:
    peaks = []
    for length in (1000, 1_000_000):
        out = parts(tmp_path, ending, (length, length))
        done = python(PEAK, out, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 12, f"{peaks} MB, of files of {out.stat().st_size / 1e6:.0f} MB"
