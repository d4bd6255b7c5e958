"""Bundles whose bytes were changed and whose hashes were corrected: they are refused in a sentence, or work as they say."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aepipe
import numpy as np
import onnx
import pytest
from aepipe.bundle.manifest import sha256
from aepipe.bundle.onnx_file import parse_onnx
from aepipe.bundle.reader import Bundle
from aepipe.errors import AepipeError, BadInput
from aepipe.files.records import read_json
from aepipe.runtime import OnnxRuntime
from aepipe.runtime.model import Model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.helpers.bundles import edit_manifest, manifest_of

KEPT = Path(__file__).parents[1] / "fixtures/format-1/bundle"  # the smallest graphs
IMAGES = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
ROLES = ("encoder", "decoder", "sample", "log_prob", "noise")
fast = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return shutil.copytree(KEPT, tmp_path / "bundle")


def put(bundle: Path, file: str, content: bytes) -> None:
    """Replace a graph, and correct its digest in the manifest."""
    (bundle / file).write_bytes(content)

    def correct(manifest: dict[str, Any]) -> None:
        for graph in manifest["graphs"]:
            if graph["file"] == file:
                graph["sha256"] = hashlib.sha256(content).hexdigest()

    edit_manifest(bundle, correct)


def change(bundle: Path, file: str, edit: Callable[[onnx.ModelProto], Any]) -> None:
    model = onnx.load(KEPT / file)
    edit(model)
    put(bundle, file, model.SerializeToString())


def use(bundle: Path) -> None:
    """Everything once, with right shapes and no NaN."""
    with aepipe.load(bundle, "cpu", threads=1) as model:
        codes = model.encode(IMAGES)
        assert codes.shape == (3, 4) and codes.dtype == np.float32 and np.isfinite(codes).all()
        images = model.decode(codes)
        assert images.shape == (3, 1, 8, 8) and images.dtype == np.float32 and np.isfinite(images).all()
        assert model.sample(3, "gaussian").shape == (3, 1, 8, 8)
        assert model.noise(codes, "gaussian").shape == (3, 4)
        scores = model.score(IMAGES, "gaussian")["log_density"]
        assert scores.shape == (3,) and not np.isnan(scores).any()


def refused(bundle: Path, says: str, kind: type[AepipeError] = BadInput) -> None:
    with pytest.raises(kind, match=says) as caught:
        use(bundle)
    assert "\n" not in caught.value.message


FILES = ("encoder.onnx", *(f"density/gaussian/{role}.onnx" for role in ("sample", "log_prob", "noise")), "decoder.onnx")


@settings(fast, max_examples=150)
@given(data=st.data())
def test_changed_bytes_are_refused_or_work(data: st.DataObject, tmp_path_factory) -> None:
    bundle = tmp_path_factory.getbasetemp() / "mutated"
    if not bundle.exists():
        shutil.copytree(KEPT, bundle)
    file = data.draw(st.sampled_from(FILES))
    content = bytearray((KEPT / file).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        near = data.draw(st.sampled_from([200, len(content)]))  # names and shapes stand at the ends
        start = data.draw(st.integers(0, len(content))) if data.draw(st.booleans()) else max(0, len(content) - near)
        stop = start + data.draw(st.integers(0, 8))
        content[start:stop] = data.draw(st.binary(max_size=8) | st.just(bytes(content[:40])))
    put(bundle, file, bytes(content))
    try:
        use(bundle)
    except AepipeError as error:
        assert error.message and "\n" not in error.message
    finally:
        put(bundle, file, (KEPT / file).read_bytes())


@settings(fast, max_examples=100)
@given(st.binary(max_size=200), st.integers(0, 3))
def test_any_bytes_are_a_file_or_none(noise: bytes, times: int) -> None:
    content = (KEPT / "density/gaussian/sample.onnx").read_bytes()
    for each in (noise, content + noise, noise + content, content[: len(content) // 2] + noise * times):
        try:
            found = parse_onnx(each, Path("x.onnx"))
            assert all(isinstance(name, str) for name in [*found.inputs, *found.outputs, *found.external])
        except BadInput as error:
            assert error.message == "x.onnx is not an ONNX file"


def nested(levels: int) -> bytes:
    """A graph with an attribute with a graph with an attribute …"""
    content = b""
    for _ in range(levels):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            content = tag + varint(len(content)) + content
    return b"\x3a" + varint(len(content)) + content


def varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made, value = made + bytes([value & 127 | 128]), value >> 7
    return made + bytes([value])


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 1_000_000,
        b"\x3a" + b"\xff" * 1_000_000,
        b"\x08" + b"\x80" * 1_000_000 + b"\x01",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x08\x01" * 3_000_000,
        nested(3_000),
        b"\x0d",
        b"",
    ],
)
def test_files_that_are_made_to_take_long(content: bytes) -> None:
    start = time.process_time()
    with pytest.raises(BadInput, match="is not an ONNX file"):
        parse_onnx(content, Path("x.onnx"))
    assert time.process_time() - start < 10


def retype(tensor: onnx.ValueInfoProto, kind: int) -> None:
    tensor.type.tensor_type.elem_type = kind


def resize(tensor: onnx.ValueInfoProto, axis: int, size: int) -> None:
    tensor.type.tensor_type.shape.dim[axis].dim_value = size


@pytest.mark.parametrize(
    ("file", "edit", "says"),
    [
        ("decoder.onnx", lambda m: resize(m.graph.output[0], 1, 3), r"has output 'image' \[3, 8, 8\], but"),
        ("decoder.onnx", lambda m: resize(m.graph.output[0], 0, 1), r"without a batch that may vary, but"),
        ("encoder.onnx", lambda m: resize(m.graph.input[0], 0, 1), r"without a batch that may vary, but"),
        ("encoder.onnx", lambda m: retype(m.graph.input[0], TensorProto.DOUBLE), r"has input 'image' float64 \[1, 8, 8\]"),
        ("encoder.onnx", lambda m: retype(m.graph.output[0], TensorProto.STRING), r"has output 'latent' string \[4\]"),
        ("encoder.onnx", lambda m: setattr(m.graph.output[0], "name", "code"), r"has output 'latent' nothing, but"),
        ("encoder.onnx", lambda m: m.graph.output.append(m.graph.input[0]), r"has output 'image' \[1, 8, 8\], but"),
        ("encoder.onnx", lambda m: m.graph.input.append(m.graph.input[0]), "is not an ONNX file"),
        ("encoder.onnx", lambda m: m.MergeFrom(onnx.load(KEPT / "encoder.onnx")), "is not an ONNX file"),
        ("encoder.onnx", lambda m: m.graph.input[0].type.sequence_type.SetInParent(), "has input 'image' no tensor of no shape"),
        ("density/gaussian/noise.onnx", lambda m: resize(m.graph.output[0], 1, 5), r"has output 'noise' \[5\], but"),
        ("density/gaussian/log_prob.onnx", lambda m: retype(m.graph.output[0], TensorProto.INT64), "output 'log_prob' int64"),
        ("density/gaussian/sample.onnx", lambda m: resize(m.graph.input[0], 1, 2**40), "is not an ONNX file"),
    ],
)  # fmt: skip
def test_all_tensors_are_checked_before_any_use(file: str, edit: Any, says: str, bundle: Path, call) -> None:
    change(bundle, file, edit)
    refused(bundle, says)
    found = call("inspect", bundle, "--json")
    assert found.code == 2 and list(json.loads(found.out)["problems"]) == [file]


@pytest.mark.parametrize(
    ("index", "ends", "shape", "says"),
    [
        (0, "outputs", ["batch", 5], "has output 'latent' [4], but the manifest says [5]"),
        (1, "outputs", ["batch", 3, 8, 8], "has output 'image' [1, 8, 8], but the manifest says [3, 8, 8]"),
        (1, "inputs", ["batch", 2**40], "has an absurd shape"),
        (1, "inputs", ["batch", 0], "has an absurd shape"),
        (1, "outputs", [1, 1, 8, 8], "without a batch that may vary"),
    ],
)
def test_what_the_manifest_says_of_tensors(index: int, ends: str, shape: list[Any], says: str, bundle: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        (tensor,) = manifest["graphs"][index][ends].values()
        tensor["shape"] = shape

    edit_manifest(bundle, edit)
    with pytest.raises(BadInput) as caught:
        use(bundle)
    assert says in caught.value.message


def test_manifest_and_graph_agree_on_what_the_bundle_does_not_say(bundle: Path) -> None:
    """Three channels from the decoder, one in the bundle."""

    def three(model: onnx.ModelProto) -> None:
        old = model.graph.output[0]
        model.graph.node.append(helper.make_node("Concat", [old.name] * 3, ["three"], axis=1))
        model.graph.node[-1].output[0] = "image3"
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("image3", TensorProto.FLOAT, ["batch", 3, 8, 8]))

    change(bundle, "decoder.onnx", three)
    tensor = {"shape": ["batch", 3, 8, 8]}
    edit_manifest(bundle, lambda m: m["graphs"][1].update(outputs={"image3": tensor}))
    refused(bundle, r"says nothing of 'image' of .*, but its images and codes need \[1, 8, 8\]")


def ending(*nodes: onnx.NodeProto, **constants: np.ndarray) -> Callable[[onnx.ModelProto], None]:
    """Nodes that make the output "made" of "was", put behind what a graph made."""

    def edit(model: onnx.ModelProto) -> None:
        name = model.graph.output[0].name
        for node in model.graph.node:
            for slot, each in enumerate(node.output):
                if each == name:
                    node.output[slot] = "was"
            for slot, each in enumerate(node.input):
                if each == name:
                    node.input[slot] = "was"
        model.graph.node.extend(nodes)
        model.graph.node[-1].output[0] = name
        model.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())

    return edit


NODE = helper.make_node
HALF = ending(
    NODE("Shape", ["was"], ["shape"], end=1),
    NODE("Div", ["shape", "two"], ["half"]),
    NODE("Slice", ["was", "zero", "half"], ["made"]),
    two=np.array([2], np.int64),
    zero=np.array([0], np.int64),
)
FIRST = ending(
    NODE("Slice", ["was", "zero", "one"], ["made"]), zero=np.array([0], np.int64), one=np.array([1], np.int64)
)
NAN = ending(NODE("Log", ["minus"], ["nan"]), NODE("Add", ["was", "nan"], ["made"]), minus=np.array([-1], np.float32))
INFINITE = ending(NODE("Div", ["was", "zero"], ["made"]), zero=np.array([0], np.float32))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("edit", [HALF, FIRST, NAN], ids=["half a batch", "one row", "NaN"])
def test_wrong_results_are_errors(file: str, edit: Any, bundle: Path) -> None:
    change(bundle, file, edit)
    name = file.removesuffix(".onnx").removeprefix("density/")
    refused(bundle, f"the graph {name} of .* (of a batch of 3|failed)|{name}.onnx has|failed in the", AepipeError)


def test_infinity_is_right_for_far_codes_only(bundle: Path) -> None:
    change(bundle, "density/gaussian/log_prob.onnx", INFINITE)
    use(bundle)
    change(bundle, "decoder.onnx", INFINITE)
    refused(bundle, "the graph decoder of .* gives NaN or infinity for index 0 of a batch of 3", AepipeError)


@pytest.mark.parametrize("made", [None, [], {}, {"other": 1}, {"latent": [[1.0] * 4] * 3}, {"latent": np.full((3, 4), "a")},
                                  {"latent": np.zeros((3, 4))}, {"latent": np.zeros((3, 5), np.float32)},
                                  {"latent": np.zeros(12, np.float32)}, {"latent": np.float32(1)}])  # fmt: skip
def test_what_a_provider_may_not_give(made: Any) -> None:
    class Session:
        name = "strange"

        def run(self, inputs):
            return made

        def close(self):
            pass

    class Strange:
        def open(self, path, *, threads=None, batch=None):
            return Session()

    with pytest.raises(AepipeError, match="the graph encoder of"):
        Model(Bundle(KEPT), Strange()).encode(IMAGES)


def test_codes_beyond_float32(bundle: Path) -> None:
    with aepipe.load(bundle, "cpu") as model, pytest.raises(BadInput, match="beyond float32"):
        model.decode(np.full((2, 4), 1e300))
    for codes, says in (
        (np.full((5, 4), 1e300), "beyond float32"),
        (np.full((5, 4), np.nan, np.float32), "NaN"),
        (np.zeros((5, 3), np.float32), "do not fit the bundle"),
        (np.zeros((5, 4), np.int64), "do not fit the bundle"),
        (np.float32(1), "do not fit the bundle"),
        (np.zeros((0, 4), np.float32), "do not fit the bundle"),
        (np.full((5, 4), "a"), "do not fit the bundle"),
    ):
        np.savez(bundle / "codes.npz", codes=codes)
        with pytest.raises(BadInput, match=says):
            Bundle(bundle).codes()
    for labels in (np.zeros(3, int), np.array(1)):
        np.savez(bundle / "codes.npz", codes=np.zeros((5, 4), np.float32), labels=labels)
        with pytest.raises(BadInput, match="do not fit the bundle"):
            Bundle(bundle).codes()


def external(model: onnx.ModelProto, location: str) -> None:
    """Move a weight of the decoder out of the file."""
    tensor = max(model.graph.initializer, key=lambda each: each.ByteSize())
    tensor.raw_data = numpy_helper.to_array(tensor).tobytes()
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=location))


def weights() -> bytes:
    model = onnx.load(KEPT / "decoder.onnx")
    return numpy_helper.to_array(max(model.graph.initializer, key=lambda each: each.ByteSize())).tobytes()


def test_external_data_is_hashed_and_loaded(bundle: Path, tmp_path: Path) -> None:
    change(bundle, "decoder.onnx", lambda model: external(model, "decoder.data"))
    (bundle / "decoder.data").write_bytes(weights())
    refused(bundle, "keeps weights in 'decoder.data', of which the manifest has no SHA-256")
    edit_manifest(bundle, lambda m: m.update(files={"decoder.data": sha256(bundle / "decoder.data")}))
    codes = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(aepipe.load(bundle, "cpu").decode(codes), aepipe.load(KEPT, "cpu").decode(codes))
    assert "decoder.data" in Bundle(bundle).files
    (bundle / "decoder.data").write_bytes(weights()[:-1] + b"!")
    refused(bundle, "decoder.data was altered or cut off")
    (bundle / "decoder.data").unlink()
    refused(bundle, "decoder.data is missing from the bundle")
    (tmp_path / "elsewhere").write_bytes(weights())
    (bundle / "decoder.data").symlink_to(tmp_path / "elsewhere")
    refused(bundle, "'decoder.data' leads out of the bundle")


@pytest.mark.parametrize(
    "location", ["/etc/hostname", "../secret", "a/../../b", "", ".", "decoder.onnx", "C:\\x", ".git/config"]
)
def test_external_data_elsewhere(location: str, bundle: Path) -> None:
    change(bundle, "decoder.onnx", lambda model: external(model, location))
    edit_manifest(bundle, lambda m: m.update(files={"decoder.onnx": sha256(bundle / "decoder.onnx")}))
    refused(bundle, "keeps weights|leads out")


def test_external_data_of_a_graph_within_a_graph(bundle: Path) -> None:
    """In a constant of a branch, where nobody looks first."""

    def hide(model: onnx.ModelProto) -> None:
        value = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        value.external_data.append(onnx.StringStringEntryProto(key="location", value="/etc/hostname"))
        constant = NODE("Constant", [], ["hidden"])
        constant.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR, t=value))
        out = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1])
        branch = helper.make_graph([constant], "branch", [], [out])
        yes = numpy_helper.from_array(np.array(True), "yes")
        model.graph.initializer.append(yes)
        model.graph.node.append(NODE("If", ["yes"], ["unused"], then_branch=branch, else_branch=branch))

    change(bundle, "decoder.onnx", hide)
    refused(bundle, "keeps weights elsewhere")


@pytest.mark.parametrize("file", ["codes.npz", "README.md", "preview.png"])
def test_files_beside_the_graphs_have_digests(file: str, digits_bundle: Path, tmp_path: Path, call) -> None:
    assert manifest_of(digits_bundle)["files"].keys() == {"codes.npz", "README.md", "preview.png"}
    bundle = shutil.copytree(digits_bundle, tmp_path / "bundle")
    assert call("inspect", bundle).code == 0
    content = bytearray((bundle / file).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / file).write_bytes(content)
    found = call("inspect", bundle)
    assert found.code == 2 and f"{file} was altered" in found.err and "DAMAGED" in found.out
    if file == "codes.npz":
        with pytest.raises(BadInput, match="was altered"):
            Bundle(bundle).codes()
    (tmp_path / "elsewhere").write_bytes(content)
    (bundle / file).unlink()
    (bundle / file).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="leads out of the bundle"):
        Bundle(bundle)


@pytest.mark.parametrize("file", ["../x", "/x", "a/../x", ".git/config", "", ".", "manifest.json", "a//b", "a\\b"])
def test_names_of_files(file: str, bundle: Path) -> None:
    edit_manifest(bundle, lambda m: m.update(files={file: "0" * 64}))
    refused(bundle, "leads out of the bundle|is no name for a file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("file", ["encoder.onnx", "codes.npz"])
def test_a_pipe_is_no_file(file: str, bundle: Path) -> None:
    (bundle / file).unlink()
    os.mkfifo(bundle / file)
    with pytest.raises(BadInput, match="is a pipe or a device"):
        Bundle(bundle).problems() and Bundle(bundle).beside(file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"format": 1, "format": 1}', "the key 'format' stands twice"),
        ('{"format": 1, "image": {"shape": [1, 8, 8], "shape": [1, 8, 8]}}', "the key 'shape' stands twice"),
        (f'{{"format": {"9" * 5000}}}', "a number has 5000 digits"),
        (f'{{"format": -{"9" * 50}}}', "a number has 51 digits"),
        ('{"format": 1e999}', "format"),
        ('{"format": NaN}', "format"),
        ('{"format": -1}', "format"),
    ],
)
def test_json_that_could_be_understood_in_two_ways(text: str, says: str, bundle: Path) -> None:
    (bundle / "manifest.json").write_text(text)
    refused(bundle, says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m["image"].update(range=[0, float("nan")]), "NaN or infinite"),
        (lambda m: m.update(parity={"encoder": float("inf")}), "NaN or infinite"),
        (lambda m: m["image"].update(shape=[2**31 - 1] * 3), "absurd size"),
        (lambda m: m.update(latent=2**31 - 1), "absurd size"),
        (lambda m: m["graphs"].append(m["graphs"][0]), "two graphs have the same role"),
    ],
)
def test_absurd_numbers(change: Any, says: str, bundle: Path) -> None:
    edit_manifest(bundle, change)
    refused(bundle, says)


@given(keys=st.lists(st.sampled_from("abc"), min_size=2, max_size=4), depth=st.integers(0, 3))
@fast
def test_keys_that_stand_twice_at_any_depth(keys: list[str], depth: int, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "keys.json"
    inner = "{" + ", ".join(f'"{key}": 1' for key in keys) + "}"
    path.write_text('{"x": [' * depth + inner + "]}" * depth)
    if len(set(keys)) == len(keys):
        assert read_json(path)
    else:
        with pytest.raises(ValueError, match="stands twice"):
            read_json(path)


def test_what_is_checked_is_what_is_loaded(bundle: Path) -> None:
    """The file changes between the check and the loading: a provider that reads a path gets what was checked, too."""
    for takes_content in (True, False):

        class Late:
            def open(self, path, *, threads=None, batch=None):
                (bundle / "decoder.onnx").write_bytes(b"something else")
                return OnnxRuntime("CPUExecutionProvider", {}).open(path)

        class LateBytes:
            def open(self, path, *, threads=None, batch=None, content=None):
                assert Path(path) == bundle / "decoder.onnx"
                (bundle / "decoder.onnx").write_bytes(b"something else")
                return OnnxRuntime("CPUExecutionProvider", {}).open(path, content=content)

        codes = np.ones((2, 4), np.float32)
        shutil.copy(KEPT / "decoder.onnx", bundle / "decoder.onnx")
        made = Model(Bundle(bundle), LateBytes() if takes_content else Late()).decode(codes)
        np.testing.assert_array_equal(made, aepipe.load(KEPT, "cpu").decode(codes))


def test_a_bundle_that_is_exported_anew_while_it_is_open(digits_bundle: Path, bundle: Path) -> None:
    model = aepipe.load(bundle, "cpu")
    codes = model.encode(IMAGES)
    shutil.rmtree(bundle)
    shutil.copytree(digits_bundle, bundle)
    for use_it in (lambda: model.decode(codes), model.bundle.codes, lambda: model.sample(1)):
        with pytest.raises(BadInput, match="was exported anew while it was open") as caught:
            use_it()
        assert caught.value.hint == "load it again"
    np.testing.assert_array_equal(model.encode(IMAGES), codes), "what is loaded goes on"
