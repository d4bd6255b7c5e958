"""Tasks of plugins: commands of `infer` like the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from aepipe import BadInput, hookimpl, plugins


class Tasks:
    @hookimpl
    def register_tasks(self, register):
        def mean(*, scale: float = 1.0, shout: bool = False, fail: str = ""):
            """The mean of all values.

            scale: a factor
            shout: in capital letters
            fail: how
            """

            def run(model, reading, out):
                if fail == "value":
                    raise ValueError("no mean is asked for")
                if fail == "key":
                    raise KeyError("oh")
                batches = list(reading.batches())
                if fail == "nothing":
                    return None
                values = np.concatenate([samples for _, samples in batches])
                indices = [int(index) for own, _ in batches for index in own]
                word = "MEAN" if shout else "mean"
                text = json.dumps({word: scale * float(values.mean()), "indices": indices, "of": len(reading)})
                out.write_text(text)
                if fail == "late":
                    raise BadInput("it is too late", "begin earlier")
                return f"{word} of {len(values)}"

            run.endings = (".json",)
            return run

        def encode():
            "A name that is taken."
            return lambda model, reading, out: None

        def batched(*, batch_size: int = 3):
            "An option that all have."
            return lambda model, reading, out: None

        for each in (mean, encode, batched):
            register(each)


@pytest.fixture
def stranger(register):
    return register(Tasks(), "tasks")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    np.save(tmp_path / "in.npy", np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8))
    return tmp_path / "in.npy"


def test_it_stands_in_the_help_and_has_the_common_options(stranger, call):
    listed = call("infer", "--help").out
    assert "mean " in listed and "The mean of all values." in listed and "batched" not in listed
    shown = call("infer", "mean", "--help").out
    for words in (
        "--scale FLOAT",
        "a factor",
        "[default: 1.0]",
        "--shout / --no-shout",
        "--provider",
        "--limit",
        "--skip-bad",
        "INPUT",
    ):
        assert words in shown
    assert "--shard" not in shown
    assert call("list", "task", "mean").code == 0
    assert len(stranger.errors) == 2 and any("'encode' exists already" in each for each in stranger.errors)
    assert any("option 'batch_size'" in each for each in stranger.errors)


def test_it_reads_as_other_tasks_do_and_writes_its_file(stranger, infer, images: Path, tmp_path: Path):
    out = tmp_path / "mean.json"
    done = infer("mean", images, "--scale", "2", "--shout", "--limit", 8, "--batch-size", 3, "-o", out)
    assert "input: " in done.err and "mean.json: MEAN of 8" in done.err
    found = json.loads(out.read_text())
    assert found["MEAN"] == pytest.approx(2 * np.load(images)[:8].mean() / 255, rel=1e-5)
    assert found["indices"] == list(range(8)) and found["of"] == 8


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--fail", "value"], 2, "no mean is asked for"),
        (["--fail", "key"], 1, "KeyError"),
        (["--fail", "nothing"], 1, "did not write OUT"),
        (["--fail", "late"], 2, "it is too late"),
        (["--scale", "big"], 2, "scale=big: a number is needed"),
        (["--shard", "1/2"], 2, "--shard means nothing to mean"),
        (["--scales", "2"], 2, "--scale"),
    ],
)
def test_what_fails_is_one_sentence_and_leaves_what_was_there(stranger, infer, images, tmp_path, more, code, words):
    (tmp_path / "mean.json").write_text("before")
    done = infer("mean", images, *more, "-o", tmp_path / "mean.json", code=code)
    assert words in done.err and (tmp_path / "mean.json").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == ["in.npy", "mean.json"]


@pytest.mark.parametrize("out", ["mean.csv", "-", "folder/", "in.npy"])
def test_another_out_is_refused_before_anything_is_read(stranger, infer, images: Path, tmp_path: Path, out: str):
    done = infer("mean", images, "-o", out if out == "-" else f"{tmp_path}/{out}", code=2)
    assert "input: " not in done.err


def test_the_names_of_aepipes_own_tasks_stay(stranger, infer, images: Path, tmp_path: Path):
    infer("encode", images, "-o", tmp_path / "codes.npy")
    assert np.load(tmp_path / "codes.npy").shape == (20, 8)
    assert plugins.registry().names("task") == ["batched", "encode", "mean"]
