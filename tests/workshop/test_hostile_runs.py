"""Runs of strangers: whatever run.json and the tensors say, nothing outside the folder is touched, and no traceback is shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aepipe
import pytest
import torch
from aepipe.errors import AepipeError, BadInput
from aepipe.workshop.run import Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.helpers.commands import refused
from tests.helpers.folders import contents
from tests.helpers.images import blobs
from tests.helpers.settings import STEADY

LABELS = [
    "../../out",
    "/tmp/out",
    "a/b",
    "..",
    ".",
    "",
    "a\nb",
    "A",
    "a\0",
    "café",
    "-x",
    "a" * 300 + "/",
    "con:",
    "a\\b",
    None,
    3,
    ["a"],
]
HOSTILE = ["../../x", "", None, True, -1, 0, 2**40, 10**30, 1.5, [], {}, [[[]]], "x" * 5000, "\ud800", {"name": "mlp"}]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> Path:
    return aepipe.fit(blobs(), out=tmp_path_factory.mktemp("runs") / "small", **STEADY).directory


def copied(run: Path, home: Path) -> Path:
    return Path(shutil.copytree(run, home / "in" / "run"))


def edit(run: Path, **changes: Any) -> None:
    path = run / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("label", LABELS, ids=repr)
def test_labels_that_are_paths_are_refused(small_run: Path, tmp_path, capsys, label: object):
    run = copied(small_run, tmp_path)
    wanted = json.loads((run / "run.json").read_text())["densities_wanted"]
    before = contents(tmp_path)
    for changes in (
        {"densities": [label]},
        {"densities_wanted": [{**wanted[0], "label": label}], "finished": False},
    ):
        edit(run, **changes)
        for command in (["export", run, "-o", tmp_path / "b"], ["train", "--resume", run], ["fit-density", run, "pca"]):
            assert "run.json is broken" in refused(capsys, *command)
        with pytest.raises(BadInput):
            aepipe.fit(blobs(), out=run, overwrite=True, **STEADY)
        shutil.copyfile(small_run / "run.json", run / "run.json")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "label", ["../x=gaussian", "/tmp/x=gaussian", "a/b=gaussian", "..=pca", "A=pca", "a b=pca", "=pca"]
)
def test_labels_on_the_command_line_are_words(small_run: Path, tmp_path, capsys, label: str):
    run = copied(small_run, tmp_path)
    before = contents(tmp_path)
    refused(capsys, "fit-density", run, label)
    assert contents(tmp_path) == before


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*path, key))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_content_of_run_json_ends_in_a_traceback(small_run: Path, tmp_path_factory, data):
    home = tmp_path_factory.mktemp("hostile")
    run = copied(small_run, home)
    config = json.loads((run / "run.json").read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        *path, last = data.draw(st.sampled_from([each for each in places(config) if each]))
        owner = config
        for key in path:
            owner = owner[key]
        if data.draw(st.booleans()) or isinstance(owner, list):
            owner[last] = data.draw(st.sampled_from(HOSTILE))
        else:
            del owner[last]
    (run / "run.json").write_text(json.dumps(config))
    for work in (
        lambda: Run(run).export(home / "b", show=False),
        lambda: aepipe.resume(run, blobs(), epochs=3, show=False),
    ):
        try:
            work()
        except AepipeError as error:
            assert error.message
    assert {path.name for path in home.iterdir()} <= {"in", "b"} and [
        path.name for path in (home / "in").iterdir()
    ] == ["run"]


NOTES = ["{", "[]", "3", "null", "{}", '{"name": 3}', '{"name": "mlp", "options": [], "plugin": "aepipe", "version": ""}',
         "[" * 100_000, '{"a":' * 50_000, '{"epoch": -1, "history": {}}', "9" * 5000, '"' + "x" * 2_000_000 + '"']  # fmt: skip


@pytest.mark.parametrize("notes", NOTES, ids=lambda text: text[:20])
@pytest.mark.parametrize("name", ["density/pca", "last", "best"])
def test_no_notes_of_tensors_end_in_a_traceback(small_run: Path, tmp_path, name: str, notes: str):
    run = copied(small_run, tmp_path)
    save_file({"model.x": torch.ones(3), "optimiser.x": torch.ones(2)}, run / f"{name}.safetensors", {"aepipe": notes})
    if name == "last":
        edit(run, finished=False)
        with pytest.raises(BadInput, match=r"last\.safetensors|does not fit"):
            aepipe.resume(run, blobs(), show=False)
    else:
        with pytest.raises(BadInput) as caught:
            Run(run).export(tmp_path / "b", show=False)
        assert len(caught.value.message) < 1000
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "line",
    ["[", "3", "{}", '{"epoch": 1}', "[" * 100_000, '{"epoch": "1", "validation_mse": 0}'],
    ids=lambda text: text[:20],
)
def test_no_history_ends_in_a_traceback(small_run: Path, tmp_path, line: str):
    run = copied(small_run, tmp_path)
    (run / "metrics.jsonl").write_text(line + "\n")
    with pytest.raises(BadInput, match=r"metrics\.jsonl"):
        Run(run).history  # noqa: B018
