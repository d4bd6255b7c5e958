"""exported/hosts: each program agrees with aepipe's own runtime, where its tools are; and says what it refuses."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.places import HOSTS, KEPT

if not HOSTS.is_dir():
    pytest.skip("the hosts are not in this copy", allow_module_level=True)
sys.path.insert(0, str(HOSTS))
import compare
import programs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory):
    """A host by name, installed or built once; skips where that cannot be."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(name: str) -> programs.Host | str:
            try:
                return stack.enter_context(contextlib.closing(programs.HOSTS[name](tmp_path_factory.mktemp(name))))
            except programs.Unavailable as reason:
                return str(reason)

        def started(name: str) -> programs.Host:
            found = start(name)
            return found if isinstance(found, programs.Host) else pytest.skip(found)

        yield started


@pytest.fixture(params=list(programs.HOSTS))
def host(request: pytest.FixtureRequest, started) -> programs.Host:
    return started(request.param)


@pytest.fixture(scope="module")
def examples(kept_bundle: Path):
    return compare.examples(kept_bundle)


def refused(host: programs.Host, bundle: Path, task: str, values: np.ndarray, folder: Path) -> str:
    with pytest.raises(programs.Failed) as failure:
        compare.call(host, bundle, task, values, folder)
    assert not (folder / "out.npy").exists()
    return str(failure.value)


def test_it_agrees_with_aepipes_runtime(host, kept_bundle, examples, tmp_path):
    assert sorted(examples) == ["decode", "encode", "interpolate", "reconstruct", "sample"]
    for task, (values, expected) in examples.items():
        found = compare.call(host, kept_bundle, task, values, tmp_path)
        assert compare.difference(task, expected, found) <= (1e-4 if task == "encode" else 1e-5), task


def test_it_tells_how_long_decodes_take(host, kept_bundle, examples, tmp_path):
    times = compare.call(host, kept_bundle, "time", examples["decode"][0][:1], tmp_path)
    assert times.shape == (100,) and times.dtype == np.float32
    assert 0 < np.mean(times) < 1000 and min(times) >= 0  # a browser's clock is coarse


def test_it_writes_nothing_to_the_home_folder(host, kept_bundle, examples, tmp_path, monkeypatch):
    if isinstance(host, programs.Page):
        pytest.skip("a browser has a profile there")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")  # with which ONNX Runtime gives the machine a number
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    compare.call(host, kept_bundle, "decode", examples["decode"][0], tmp_path)
    assert not list((tmp_path / "home").rglob("*"))


def test_it_takes_the_fp32_graphs_of_floats_by_the_manifest_wherever_they_lie(host, kept_bundle, examples, tmp_path):
    moved = shutil.copytree(kept_bundle, tmp_path / "moved")
    manifest = json.loads((moved / "manifest.json").read_text())
    graphs = manifest["graphs"]
    others = []
    for graph in graphs:
        (moved / graph["file"]).rename(moved / f"{len(others)}.onnx")
        graph["file"] = f"{len(others)}.onnx"
        for other in ({"precision": "int8"}, {"io": "uint8"}, {"role": "reconstruct"}, {"role": "generate"}):
            others.append({**graph, **other, "file": "absent.onnx"})
    del graphs[0]["io"]  # which means float
    manifest["graphs"] = [*others, *graphs]
    manifest["note"] = 'unknown keys are ignored: "}]'
    (moved / "manifest.json").write_text(json.dumps(manifest, indent=1))
    for task in ("reconstruct", "sample"):
        values, expected = examples[task]
        assert compare.difference(task, expected, compare.call(host, moved, task, values, tmp_path)) <= 1e-5


def test_it_refuses_what_it_would_misread(host, kept_bundle, examples, tmp_path):
    codes = examples["decode"][0]
    assert "float32" in refused(host, kept_bundle, "decode", codes.astype(np.float64), tmp_path)
    assert "2 images" in refused(host, kept_bundle, "interpolate", examples["encode"][0], tmp_path)
    assert "no task" in refused(host, kept_bundle, "encoder", codes, tmp_path)
    newer = tmp_path / "newer"
    shutil.copytree(kept_bundle, newer)
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps({**manifest, "format": 3}))
    assert "format" in refused(host, newer, "decode", codes, tmp_path)


@pytest.mark.parametrize("kept", [each for each in KEPT if each.name != "format-1"], ids=lambda path: path.name)
def test_the_python_host_checks_itself(kept, tmp_path):
    command = [sys.executable, HOSTS / "python/check.py"]
    done = subprocess.run([*command, kept / "bundle"], capture_output=True, text=True)
    stages = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert done.returncode == 0 and stages[:4] == ["prepared", "latent", "reconstruction", "error"], done.stderr
    wrong = shutil.copytree(kept / "bundle", tmp_path / "wrong")
    np.save(wrong / "vectors/latent.npy", 1 + np.load(wrong / "vectors/latent.npy"))
    assert subprocess.run([*command, wrong], capture_output=True).returncode == 1


def test_the_table_says_what_was_tried_and_why_not(kept_bundle, capsys, monkeypatch, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(compare.BEGIN + "before" + compare.END)
    monkeypatch.setattr(compare, "TABLE", readme)
    monkeypatch.setenv("PATH", str(tmp_path))  # no node, no browser, no compiler
    with pytest.raises(SystemExit, match="stays as it is"):
        compare.main([str(kept_bundle), "--write"])
    assert "before" in readme.read_text()
    said = capsys.readouterr().out
    lines = said.splitlines()[: 2 + len(programs.HOSTS)]
    assert all(line.count("|") == 7 for line in lines)
    for name, line in zip(programs.HOSTS, lines[2:], strict=True):
        assert ("not tried: there is no" in line) == (name not in ("python", "openvino")), line
    assert re.search(r"onnxruntime \S+ \| 0.0e\+00 \| 0.0e\+00 \| \d+\.\d\d ms \|", lines[2])
    monkeypatch.setattr(compare, "HOSTS", {"python": programs.HOSTS["python"]})
    compare.main([str(kept_bundle), "--write"])
    assert readme.read_text() == compare.BEGIN + capsys.readouterr().out + compare.END


def test_the_committed_table_lists_every_host_and_keeps_its_word():
    text = compare.TABLE.read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.partition(compare.BEGIN)[2].partition(compare.END)[0].splitlines()[2:]]
    measured = {row[0]: row for row in rows if len(row) > 1}
    assert list(measured) == [f"| [{name}](hosts/{name})" for name in programs.HOSTS]
    for name, (_, lines, _, images, codes, _) in zip(programs.HOSTS, measured.values(), strict=True):
        assert compare.lines_of(name) == lines and int(lines.split(" + ")[0]) <= 60
        assert float(images) <= 1e-5 and float(codes) <= 1e-4
        assert len((HOSTS / name / "README.md").read_text().splitlines()) <= 7  # five, and two that are empty


def test_the_page_shows_what_the_bundle_makes(started, kept_bundle, tmp_path):
    page = started("web")
    page.run(kept_bundle, "picture", tmp_path, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        pixels = np.asarray(picture.convert("L"))[:, 8:-8]
    assert (((pixels > 0) & (pixels < 255)).mean(1) > 0.3).sum() > 150  # three strips of grey, 58 rows each
    with pytest.raises(programs.Failed):
        page.run(tmp_path / "no bundle", "decode", tmp_path / "in.npy", tmp_path / "out.npy")
