"""Jobs to a folder go on where they were stopped, and end as if nothing had stopped them."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aepipe.files.partial import PREFIX, Partial, is_whole
from aepipe.files.staged import _temporary
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.commands import program
from tests.helpers.folders import contents
from tests.helpers.places import ROOT

COUNT, BAD, STEP = 40, (17, 38), 4
NAMES = [f"{k:02d}" for k in range(COUNT)]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="stops children that were forked")
@pytest.mark.parametrize("scenarios", [["reconstruct", "skip-bad", "spoiled"], ["tiles", "sample", "shard"]])
def test_stopped_at_any_moment(scenarios: list[str], kept_bundle: Path, tmp_path: Path) -> None:
    words = [sys.executable, *program("stopping"), str(tmp_path), str(kept_bundle), *scenarios]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == scenarios and all(each["stops"] >= 2 <= each["continued"] for each in found.values()), found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images in files, two of which cannot be read."""
    home = tmp_path_factory.mktemp("given") / "photos"
    home.mkdir()
    for k, image in enumerate(np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28), np.uint8)):
        Image.fromarray(image).save(home / f"{NAMES[k]}.png")
        if k in BAD:
            (home / f"{NAMES[k]}.png").write_bytes(b"no image")
    return home


@pytest.fixture
def restore(call, kept_bundle: Path, photos: Path, tmp_path: Path):
    """`aepipe infer denoise … -o OUT`, in batches of four, with a corruption; returns what it said."""

    def inner(*more: object, out: str = "out", code: int = 0, given: Path = photos, bundle: Path = kept_bundle) -> str:
        words = ["--provider", "cpu", "--batch-size", STEP, "--corrupt", "gaussian:sigma=0.3", *more]
        outcome = call("infer", "denoise", bundle, given, "-o", tmp_path / out, *words)
        assert outcome.code == code, outcome.err
        return outcome.err

    return inner


@pytest.fixture
def stopped(restore, tmp_path: Path) -> Callable[..., Path]:
    """Have a job stopped by its first image that cannot be read; returns where its files are kept."""

    def inner(**more: object) -> Path:
        said = restore(code=2, **more)
        assert "17.png" in said and "the same command continues" in said
        (kept,) = (path for path in tmp_path.rglob(f"{PREFIX}*") if path.is_dir())
        assert len(list((kept / "files").iterdir())) in (
            STEP,
            2 * STEP,
            3 * STEP,
            4 * STEP,
        )  # the rest was still queued
        return kept / "files"

    return inner


@pytest.mark.parametrize("exists", [False, True])
def test_a_bad_image_costs_nothing(exists: bool, restore, stopped, tmp_path: Path) -> None:
    expected = restore("--skip-bad", out="whole").splitlines()[-2:]
    if exists:
        (tmp_path / "out").mkdir()
    stopped()
    said = restore("--skip-bad").splitlines()
    assert [line for line in said if line.startswith("continues: ") and line.endswith("of 40 images are there")]
    assert said[-2] == expected[0] == "skipped 2 bad images: index 17, 38"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def changed_file(given: Path, bundle: Path) -> None:
    os.utime(given / "00.png", ns=(1, 1))


def one_more(given: Path, bundle: Path) -> None:
    shutil.copy(given / "00.png", given / "41.png")


def one_less(given: Path, bundle: Path) -> None:
    (given / "39.png").unlink()


def other_name(given: Path, bundle: Path) -> None:
    (given / "39.png").rename(given / "40.png")


def other_bundle(given: Path, bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "name": "another"}))


@pytest.mark.parametrize(
    ("change", "word", "more"),
    [
        (changed_file, "input", []),
        (one_more, "input", []),
        (one_less, "input", []),
        (other_name, "input", []),
        (other_bundle, "bundle", []),
        (None, "options", ["--seed", 1]),
        (None, "options", ["--corrupt", "gaussian:sigma=0.31"]),
        (None, "batch size", ["--batch-size", 5]),
        (None, "provider", ["--threads", 1]),
        (None, "input", ["--limit", 30]),
        (None, "task", ["--tile"]),
    ],
)
def test_what_differs_never_mixes(
    change, word: str, more, restore, stopped, photos, kept_bundle, tmp_path: Path
) -> None:
    place = {"given": tmp_path / "given", "bundle": tmp_path / "bundle"}
    shutil.copytree(photos, place["given"])
    shutil.copytree(kept_bundle, place["bundle"])
    stopped(**place)
    if change:
        change(*place.values())
    said = restore("--skip-bad", *more, **place)
    assert "whose" in said and word in said.partition("whose")[2].partition(" differ;")[0] and "continues: " not in said
    restore("--skip-bad", *more, out="whole", **place)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not list(tmp_path.glob(f"{PREFIX}*"))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hurt=st.dictionaries(st.integers(0, 15), st.floats(0, 1), min_size=1, max_size=5),
    how=st.sampled_from(["cut", "zeros", "gone"]),
)
def test_files_that_are_not_whole_are_made_anew(
    hurt: dict[int, float], how: str, restore, stopped, tmp_path: Path
) -> None:
    """As a loss of power leaves them: shorter, with zeros, or not at all."""
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    made = sorted(stopped().iterdir())
    hurt = {index % len(made): share for index, share in hurt.items()}
    for index, share in hurt.items():
        path = made[index]
        content = path.read_bytes()
        place = int(share * (len(content) - 1))
        path.write_bytes(content[:place] + b"\0" * (len(content) - place if how == "zeros" else 0))
        if how == "gone":
            path.unlink()
    left = len(made) - STEP * len({index // STEP for index in hurt})
    said = restore("--skip-bad")
    assert (f"continues: {left} of 40" in said) if left else ("continues: " not in said)
    if not (tmp_path / "whole").exists():
        restore("--skip-bad", out="whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@given(st.data())
def test_half_a_file_is_never_taken_for_a_whole_one(data) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"aepipe-whole-{os.getpid()}.png"
    try:
        path.write_bytes(content)
        assert is_whole(path)
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            del content[place:]
        else:
            content[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        assert not is_whole(path)
    finally:
        path.unlink()


def test_two_never_make_the_same(restore, tmp_path: Path) -> None:
    with Partial(tmp_path / "out", {"task": "another"}):
        assert "is being written by process" in restore(code=2)
    restore("--skip-bad")


@pytest.mark.parametrize("moves", [1, 20])
def test_what_a_job_was_moving_never_mixes(
    moves: int, restore, call, photos, kept_bundle, tmp_path: Path, monkeypatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    move = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if Path(target).parent == out and len(list(out.glob("*.png"))) == moves:
            raise KeyboardInterrupt
        return move(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", interrupted)
        restore("--skip-bad", code=130)
    before = contents(out)
    assert len(list(out.glob("*.png"))) == moves
    for more in (["--seed", 1], ["--limit", 30], ["--batch-size", 5]):
        assert "run the job again that was stopped" in restore("--skip-bad", *more, code=2)
    done = call("infer", "interpolate", kept_bundle, photos, "-o", f"{out}/", "--skip-bad", "--provider", "cpu")
    assert done.code == 2 and "run the job again that was stopped" in done.err
    assert contents(out) == before
    assert "continues: 38 of 40" in restore("--skip-bad")
    restore("--skip-bad", out="whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_what_others_left_in_a_folder_is_cleared(restore, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "out").mkdir()
    mine = _temporary(tmp_path / "out")
    mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-")).mkdir()
    restore("--skip-bad")
    restore("--skip-bad", out="whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not list((tmp_path / "out").glob(".*"))


def test_a_folder_that_holds_something_else_is_refused(restore, stopped, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    stopped()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    assert "is not empty" in restore("--skip-bad", code=2)
    (tmp_path / "out" / "letter.txt").unlink()
    assert "continues: " in restore("--skip-bad")
