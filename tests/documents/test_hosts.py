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

import aepipe
import numpy as np
import pytest
from aepipe.images.decoding import read_image
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
    assert sorted(examples) == ["decode", "encode", "interpolate", "reconstruct", "sample", "score"]
    for task, (values, expected) in examples.items():
        found = compare.call(host, kept_bundle, task, values, tmp_path)
        assert compare.difference(task, expected, found) <= (1e-4 if task in ("encode", "score") else 1e-5), task


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
    assert "2 samples" in refused(host, kept_bundle, "interpolate", examples["encode"][0], tmp_path)
    assert "no task" in refused(host, kept_bundle, "encoder", codes, tmp_path)
    newer = tmp_path / "newer"
    shutil.copytree(kept_bundle, newer)
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps({**manifest, "format": 3}))
    assert "format" in refused(host, newer, "decode", codes, tmp_path)


MAPS, SIGNALS = (each / "bundle" for each in KEPT if each.name.startswith("format-2"))


def test_it_takes_bundles_of_format_2_in_their_units(host, tmp_path):
    """uint16 images of sides that are no multiples, so that they are padded, and signals: in and out as aepipe has them."""
    for bundle in (MAPS, SIGNALS):
        values = np.load(bundle / "vectors/input.npy")
        with aepipe.load(bundle, provider="cpu", threads=1) as model:
            restored, scores = model.reconstruct(values), np.stack([*model.score(values).values()], 1)
        found = compare.call(host, bundle, "reconstruct", values, tmp_path)
        assert compare.difference("reconstruct", restored, found) <= 1e-5 * np.abs(restored).max()
        assert compare.difference("score", scores, compare.call(host, bundle, "score", values, tmp_path)) <= 1e-4
    assert "values that are not in" in refused(
        host, MAPS, "encode", np.full_like(np.load(MAPS / "vectors/input.npy"), 4096), tmp_path
    )


@pytest.mark.parametrize("bundle", [MAPS, SIGNALS], ids=["maps", "signals"])
def test_it_checks_itself(host, bundle, tmp_path):
    densities = [f"log_density {name}" for name in ("gaussian", "pca")] if bundle == SIGNALS else []
    stages = dict(line.rsplit(": ", 1) for line in host.check(bundle, tmp_path / "check.txt").splitlines())
    assert list(stages) == ["prepared", "latent", "reconstruction", "error", *densities]
    assert max(map(float, stages.values())) <= 1e-4


@pytest.mark.parametrize("wrong", [1e-3, np.nan])
def test_it_finds_what_its_vectors_do_not_say(host, wrong, tmp_path):
    spoiled = shutil.copytree(SIGNALS, tmp_path / "spoiled")
    np.save(spoiled / "vectors/latent.npy", np.float32(wrong) + np.load(spoiled / "vectors/latent.npy"))
    with pytest.raises(programs.Failed, match=r"latent: \S+, which is more than") as failure:
        host.check(spoiled, tmp_path / "check.txt")
    assert str(failure.value).count("which is more") == 1


def test_it_takes_the_tolerance_that_the_vectors_state(host, tmp_path):
    spoiled = shutil.copytree(SIGNALS, tmp_path / "spoiled")
    scores = json.loads((spoiled / "vectors/scores.json").read_text())
    np.save(spoiled / "vectors/latent.npy", np.float32(1e-3) + np.load(spoiled / "vectors/latent.npy"))
    (spoiled / "vectors/scores.json").write_text(json.dumps({**scores, "tolerance": 0.01}))
    host.check(spoiled, tmp_path / "check.txt")


def test_it_says_what_is_missing(host, kept_bundle, tmp_path):
    with pytest.raises(programs.Failed, match="no test vectors"):
        host.check(kept_bundle, tmp_path / "check.txt")
    np.save(tmp_path / "codes.npy", np.zeros((1, 8), np.float32))
    with pytest.raises(programs.Failed, match=r"manifest\.json"):
        host.run(tmp_path, "decode", tmp_path / "codes.npy", tmp_path / "out.npy")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory):
    """Makes bundles of which a code is the input itself, for samples of some shape."""
    import onnx

    folder = tmp_path_factory.mktemp("plain")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", "c", "h", "w"]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "plain", ends[:1], ends[1:])
    versions = {"ir_version": 10, "opset_imports": [onnx.helper.make_opsetid("", 18)]}
    onnx.save(onnx.helper.make_model(graph, **versions), folder / "plain.onnx")

    def make(shape: tuple[int | None, ...], **data: object) -> Path:
        described = {"kind": "image", "shape": shape, "multiple": 1, "range": [0, 1], **data}
        encoder = {"role": "encoder", "precision": "fp32", "file": "plain.onnx"}
        whole = {"format": 2, "data": described, "latent": {"shape": shape}, "graphs": [encoder], "densities": []}
        (folder / "manifest.json").write_text(json.dumps(whole))
        return folder

    return make


def told_bundle(folder: Path) -> Path:
    """Rows of three numbers, which are codes too, and a density that adds its label to the noise and to the sum of a code."""
    import onnx
    from onnx import helper

    def save(name: str, nodes: list[onnx.NodeProto], output: int, *more: onnx.ValueInfoProto) -> None:
        given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])
        made = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3][:output])
        rows = onnx.numpy_helper.from_array(np.array([1]), "axis")
        graph = helper.make_graph(nodes, name, [given, *more], [made], [rows])
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
        onnx.save(model, folder / f"{name}.onnx")

    label, node = helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["n"]), helper.make_node
    number = node("Cast", ["label"], ["number"], to=onnx.TensorProto.FLOAT)
    save("same", [node("Identity", ["x"], ["y"])], 2)
    save(
        "sample",
        [number, node("Unsqueeze", ["number", "axis"], ["column"]), node("Add", ["x", "column"], ["y"])],
        2,
        label,
    )
    summed = node("ReduceSum", ["x", "axis"], ["sum"], keepdims=0)
    save("log_prob", [number, summed, node("Add", ["sum", "number"], ["y"])], 1, label)
    shape = {"dtype": "float32", "shape": ["batch", 3]}
    told = {"precision": "fp32", "density": "told"}
    inputs = {"label": {"dtype": "int64", "shape": ["batch"]}}
    graphs = [
        {"role": "encoder", "precision": "fp32", "file": "same.onnx", "inputs": {"row": shape}},
        {"role": "decoder", "precision": "fp32", "file": "same.onnx", "inputs": {"latent": shape}},
        {"role": "sample", **told, "file": "sample.onnx", "inputs": {"noise": shape, **inputs}},
        {"role": "log_prob", **told, "file": "log_prob.onnx", "inputs": {"latent": shape, **inputs}},
    ]
    values = np.arange(3, dtype=np.float32)[None]
    (folder / "vectors").mkdir()
    for name in ("input", "prepared", "latent", "reconstruction"):
        np.save(folder / f"vectors/{name}.npy", values)
    (folder / "vectors/scores.json").write_text(json.dumps({"error": 0, "log_density": {"told": 3}}))
    data = {"kind": "row", "shape": [3], "multiple": 1, "range": None, "raw": {"dtype": "float32"}}
    whole = {
        "format": 2,
        "name": "told",
        "data": data,
        "latent": {"shape": [3]},
        "graphs": graphs,
        "densities": ["told"],
    }
    more = {"classes": 3, "vectors": "vectors", "files": {"vectors/input.npy": ""}}
    (folder / "manifest.json").write_text(json.dumps({**whole, **more}))
    return folder


def test_it_tells_a_density_its_classes_in_turn_and_scores_without(host, tmp_path):
    (tmp_path / "told").mkdir()
    told = told_bundle(tmp_path / "told")
    made = compare.call(host, told, "sample", np.zeros((4, 3), np.float32), tmp_path)
    assert made[:, 0].tolist() == made[:, 2].tolist() == [0, 1, 2, 0]
    score = compare.call(host, told, "score", np.ones((2, 3), np.float32), tmp_path)
    assert score[:, 0].tolist() == [0, 0] and np.isnan(score[:, 1]).all()
    assert "log_density told: 0.0e" in host.check(told, tmp_path / "check.txt")
    manifest = json.loads((told / "manifest.json").read_text())
    (told / "manifest.json").write_text(json.dumps({**manifest, "graphs": manifest["graphs"][:3]}))  # it lacks log_prob
    score = compare.call(host, told, "score", np.ones((2, 3), np.float32), tmp_path)
    assert score[:, 0].tolist() == [0, 0] and np.isnan(score[:, 1]).all()


def pictures(folder: Path) -> dict[str, Path]:
    """PNG files of several kinds: with alpha, with a transparent palette, turned, grey."""
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (61, 40, 4), dtype=np.uint8), "RGBA")
    colours.save(folder / "alpha.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = colours.convert("RGB").resize((9, 50)).quantize(200)
    palette.save(folder / "palette.png", transparency=bytes(range(200)), exif=turned)
    colours.convert("LA").save(folder / "grey.png")
    return {name: folder / f"{name}.png" for name in ("alpha", "palette", "grey")}


@pytest.mark.parametrize("name", ["python", "node", "web", "cpp"])  # that for OpenVINO prepares as that for Python
def test_it_prepares_pictures_to_the_very_byte(name, started, plain, tmp_path):
    host = started(name)
    for picture, shape in zip(pictures(tmp_path).values(), [(3, 28, 36), (3, 50, 16), (1, 28, 28)], strict=True):
        host.run(plain(shape), "encode", picture, tmp_path / "out.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "out.npy")[0], read_image(picture, shape) / np.float32(255))
    host.run(plain((3, None, None), multiple=4), "encode", tmp_path / "palette.png", tmp_path / "out.npy")
    exact = read_image(tmp_path / "palette.png", (3, 9, 50)) / np.float32(255)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy")[0], np.pad(exact, [(0, 0), (0, 3), (0, 2)], "reflect"))


@pytest.mark.parametrize("name", ["python", "node", "web", "cpp"])
def test_it_refuses_pictures_that_it_would_misread(name, started, plain, tmp_path):
    host = started(name)
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(programs.Failed, match="more than 8 bits"):
        host.run(plain((1, 8, 8)), "encode", tmp_path / "deep.png", tmp_path / "out.npy")
    Image.new("L", (8, 8)).save(tmp_path / "flat.png")
    with pytest.raises(programs.Failed, match="rule"):
        host.run(plain((1, 8, 8), prepare={"filter": "lanczos"}), "encode", tmp_path / "flat.png", tmp_path / "out.npy")


def test_copies_of_one_file_are_equal():
    assert (HOSTS / "node/bundle.js").read_bytes() == (HOSTS / "web/bundle.js").read_bytes()
    assert (HOSTS / "python/check.py").read_bytes() == (HOSTS / "openvino/check.py").read_bytes()


def test_check_py_is_a_program_too(tmp_path):
    done = subprocess.run([sys.executable, HOSTS / "python/check.py", SIGNALS], capture_output=True, text=True)
    assert done.returncode == 0 and "latent: 0.0e+00" in done.stdout, done.stderr


def test_the_page_opens_each_graph_once(started, kept_bundle, examples, tmp_path):
    times = compare.call(started("web"), kept_bundle, "again", examples["reconstruct"][0], tmp_path)
    assert times.tolist() == [1, 1, 1]  # encoder, decoder, sample


def test_the_table_says_what_was_tried_and_why_not(kept_bundle, capsys, monkeypatch, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(compare.BEGIN + "before" + compare.END)
    monkeypatch.setattr(compare, "TABLE", readme)
    monkeypatch.setattr(compare, "HOSTS", {name: made for name, made in programs.HOSTS.items() if name != "openvino"})
    monkeypatch.setenv("PATH", str(tmp_path))  # no node, no browser, no compiler
    with pytest.raises(SystemExit, match="stays as it is"):
        compare.main([str(kept_bundle), "--write"])
    assert "before" in readme.read_text()
    said = capsys.readouterr().out
    lines = said.splitlines()[: 2 + len(compare.HOSTS)]
    assert all(line.count("|") == 8 for line in lines)
    for name, line in zip(compare.HOSTS, lines[2:], strict=True):
        assert ("not tried: there is no" in line) == (name != "python"), line
    assert re.search(r"onnxruntime \S+ \| 0.0e\+00 \| 0.0e\+00 \| \d\.\de-?\+?\d\d \| \d+\.\d\d ms \|", lines[2])
    monkeypatch.setattr(compare, "HOSTS", {"python": programs.HOSTS["python"]})
    compare.main([str(kept_bundle), "--write"])
    assert readme.read_text() == compare.BEGIN + capsys.readouterr().out + compare.END


def test_the_committed_table_lists_every_host_and_keeps_its_word():
    text = compare.TABLE.read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.partition(compare.BEGIN)[2].partition(compare.END)[0].splitlines()[2:]]
    measured = {row[0]: row for row in rows if len(row) > 1}
    assert list(measured) == [f"| [{name}](hosts/{name})" for name in programs.HOSTS]
    for name, (_, lines, _, images, codes, check, _) in zip(programs.HOSTS, measured.values(), strict=True):
        host, beside = map(int, lines.split(" + "))
        assert compare.lines_of(name) == lines and host <= 170 and beside <= 320
        assert float(images) <= 1e-5 and float(codes) <= 1e-4 and float(check) <= 1e-4
        assert len((HOSTS / name / "README.md").read_text().splitlines()) <= 7  # five, and two that are empty


def test_the_page_shows_what_the_bundle_makes(started, kept_bundle, tmp_path):
    page = started("web")
    page.run(kept_bundle, "picture", tmp_path, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        pixels = np.asarray(picture.convert("L"))[:, 8:-8]
    assert (((pixels > 0) & (pixels < 255)).mean(1) > 0.3).sum() > 150  # three strips of grey, 58 rows each
    with pytest.raises(programs.Failed):
        page.run(tmp_path / "no bundle", "decode", tmp_path / "in.npy", tmp_path / "out.npy")
