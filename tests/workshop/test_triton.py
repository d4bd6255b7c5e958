"""export --layout triton: a model repository, checked against Triton's own definition of a model's configuration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import aepipe
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from aepipe import hookimpl
from aepipe.workshop.layouts import export_layout
from aepipe.workshop.run import Run
from aepipe.workshop.triton import quoted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.commands import python, refused
from tests.helpers.folders import contents

pytest.importorskip("tritonclient.grpc")
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

pytestmark = pytest.mark.trains

MODELS = {"encoder", "decoder", "generate", "generate_pca"}
TYPES = {onnx.TensorProto.FLOAT: DataType.Value("TYPE_FP32"), onnx.TensorProto.UINT8: DataType.Value("TYPE_UINT8")}


@pytest.fixture(scope="module")
def colour(colour_run: Run, tmp_path_factory) -> Path:
    return colour_run.export(tmp_path_factory.mktemp("exported") / "colour", show=False)


@pytest.fixture(params=["digits_bundle", "colour"])
def bundle(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture
def repository(bundle: Path, call, tmp_path: Path) -> Path:
    done = call("export", bundle, "--layout", "triton", "-o", tmp_path / "models")
    assert done.code == 0 and f"next: tritonserver --model-repository={tmp_path / 'models'}" in done.err
    return tmp_path / "models"


def config(repository: Path, model: str) -> ModelConfig:
    return text_format.Parse((repository / model / "config.pbtxt").read_text(), ModelConfig())


class Server:
    """What Triton does with a repository, by its configurations: models by ONNX Runtime, ensembles step by step."""

    def __init__(self, repository: Path):
        self.repository = repository

    def infer(self, model: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        said = config(self.repository, model)
        assert {each.name for each in said.input} == inputs.keys()
        for each in said.input:
            assert inputs[each.name].shape[1:] == tuple(each.dims) and len(inputs[each.name]) <= said.max_batch_size
        names = [each.name for each in said.output]
        if said.platform != "ensemble":
            path = self.repository / model / "1" / (said.default_model_filename or "model.onnx")
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            return dict(zip(names, session.run(names, inputs), strict=True))
        pool = dict(inputs)
        for step in said.ensemble_scheduling.step:
            found = self.infer(step.model_name, {key: pool[value] for key, value in step.input_map.items()})
            assert not pool.keys() & set(step.output_map.values())
            pool |= {value: found[key] for key, value in step.output_map.items()}
        return {name: pool[name] for name in names}


def test_the_tree(repository: Path):
    models = {f"{name}/{file}" for name in MODELS for file in ("config.pbtxt", "1/model.onnx")}
    assert set(contents(repository)) == models | {"reconstruct/config.pbtxt", "reconstruct/1/.keep", ".aepipe.json"}
    folders = {str(path.relative_to(repository)) for path in repository.rglob("*") if path.is_dir()}
    assert folders == {each for name in MODELS | {"reconstruct"} for each in (name, f"{name}/1")}
    assert [path.name for path in repository.parent.iterdir()] == ["models"]  # no temporary folder


def test_configurations_are_those_of_the_graphs(repository: Path):
    for name in MODELS:
        said, graph = config(repository, name), onnx.load(repository / name / "1/model.onnx").graph
        assert (said.name, said.platform, said.max_batch_size) == (name, "onnxruntime_onnx", 64)
        assert said.HasField("dynamic_batching")
        for tensors, values in ((said.input, graph.input), (said.output, graph.output)):
            assert [each.name for each in tensors] == [each.name for each in values]
            for each, value in zip(tensors, values, strict=True):
                kind = value.type.tensor_type
                assert kind.shape.dim[0].dim_param == "batch" and each.data_type == TYPES[kind.elem_type]
                assert list(each.dims) == [size.dim_value for size in kind.shape.dim[1:]]
                assert len(each.dims) and min(each.dims) > 0


def test_the_ensemble_is_wired(repository: Path):
    said = config(repository, "reconstruct")
    assert (said.name, said.platform, said.max_batch_size) == ("reconstruct", "ensemble", 64)
    steps = said.ensemble_scheduling.step
    assert [step.model_name for step in steps] == ["encoder", "decoder"]

    def described(tensors) -> dict:
        return {each.name: (each.data_type, tuple(each.dims)) for each in tensors}

    known = described(said.input)
    for step in steps:
        model = config(repository, step.model_name)
        assert model.max_batch_size >= said.max_batch_size and step.model_version == -1
        inputs, outputs = described(model.input), described(model.output)
        assert set(step.input_map) == set(inputs) and set(step.output_map) <= set(outputs)
        assert all(known[value] == inputs[key] for key, value in step.input_map.items())
        known |= {value: outputs[key] for key, value in step.output_map.items()}
    assert described(said.output).items() <= known.items() and list(described(said.output)) == ["reconstruction"]


def test_the_models_compute_what_the_runtime_computes(repository: Path, bundle: Path):
    server, near = Server(repository), {"atol": 1e-5, "rtol": 0}
    with aepipe.load(bundle, "cpu") as model:
        images = np.random.default_rng(0).random((9, *model.shape), dtype=np.float32)
        codes = server.infer("encoder", {"image": images})["latent"]
        np.testing.assert_allclose(codes, model.encode(images), atol=1e-4)
        np.testing.assert_allclose(server.infer("decoder", {"latent": codes})["image"], model.decode(codes), **near)
        restored = server.infer("reconstruct", {"image": images})["reconstruction"]
        np.testing.assert_allclose(restored, model.reconstruct(images), **near)
        for density, name in (("gaussian", "generate"), ("pca", "generate_pca")):
            size = (64, model.bundle.noise_features(density))
            noise = np.random.default_rng(3).standard_normal(size, dtype=np.float32)
            drawn = server.infer(name, {"noise": noise})["image"]
            np.testing.assert_allclose(drawn, model.sample(64, density, seed=3), **near)


@pytest.mark.slow
def test_a_run_and_its_bundle_give_the_same(colour_run: Run, colour: Path, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for source in (colour_run.directory, colour):  # the second replaces the first
        assert call("export", source, "--layout", "triton").code == 0
        models = contents(tmp_path / "exported/colour-triton")
        assert len(models) == 11
    assert models.keys() == contents(tmp_path / "exported/colour-triton").keys()
    whole = colour_run.export(tmp_path / "with more", io="uint8", show=False)
    assert call("export", whole, "--layout", "triton", "-o", "models").code == 0
    graphs = [
        {k: v for k, v in each.items() if k.endswith(".onnx")} for each in (models, contents(tmp_path / "models"))
    ]
    assert graphs[0] == graphs[1]
    assert graphs[0]["generate_pca/1/model.onnx"] == (whole / "generate/pca.onnx").read_bytes()


def test_a_bundle_needs_no_torch(colour: Path, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None; from aepipe.cli import run; "
        "sys.exit(run(['export', *sys.argv[1:], '--layout', 'triton']))"
    )
    done = python(code, colour, "-o", tmp_path / "x")
    assert done.returncode == 0, done.stderr
    (tmp_path / "empty").mkdir()
    done = python(code, tmp_path / "empty", "-o", tmp_path / "y")
    assert done.returncode == 1 and "this command needs torch" in done.stderr and "Traceback" not in done.stderr


def test_a_bundle_without_densities_has_no_generator(digits_run, call, tmp_path):
    model = digits_run.model()
    images = np.random.default_rng(0).random((40, 1, 28, 28), dtype=np.float32)
    aepipe.export_modules(model.encoder, model.decoder, images, tmp_path / "bundle", densities=(), show=False)
    assert call("export", tmp_path / "bundle", "--layout", "triton", "-o", tmp_path / "models").code == 0
    folders = sorted(path.name for path in (tmp_path / "models").iterdir() if path.is_dir())
    assert folders == ["decoder", "encoder", "reconstruct"]


def test_it_replaces_nothing_but_its_own(colour: Path, capsys, call, tmp_path):
    typed = ("export", colour, "--layout", "triton", "-o")
    ours = tmp_path / "ours"
    (tmp_path / "empty").mkdir()
    assert call(*typed, ours).code == call(*typed, tmp_path / "empty").code == call(*typed, ours).code == 0
    before = contents(ours)
    for file in ("other/config.pbtxt", "other/1/model.onnx", "encoder/2/model.onnx", "encoder/labels.txt", "README.md"):
        changed = Path(shutil.copytree(ours, tmp_path / "changed"))
        (changed / file).parent.mkdir(parents=True, exist_ok=True)
        (changed / file).write_text('name: "other"')
        (changed / "decoder" / "config.pbtxt").write_text("edited")  # ours, so that it is written anew
        assert call(*typed, changed).code == 0
        assert contents(changed) == {**before, file: b'name: "other"'}
        shutil.rmtree(changed)
    (tmp_path / "file").write_text("mine")
    for taken in (shutil.copytree(colour, tmp_path / "copy"), tmp_path / "file"):
        assert "exists and is not a Triton repository" in refused(capsys, *typed, taken)
    assert (tmp_path / "file").read_text() == "mine"


def test_what_it_cannot_do_it_says(colour: Path, colour_run: Run, capsys, tmp_path):
    out = ("--layout", "triton", "-o", tmp_path / "x")
    for more in (("--precision", "int8"), ("--io", "uint8")):
        assert "leave out --precision and --io" in refused(capsys, "export", colour_run.directory, *out, *more)
    assert "its graphs stay as they are" in refused(capsys, "export", colour, *out, "--lower", "none")
    assert "did you mean 'uint8'?" in refused(capsys, "export", colour, *out, "--io", "uint")
    assert "is not a run" in refused(capsys, "export", tmp_path / "absent", *out)
    damaged = Path(shutil.copytree(colour, tmp_path / "damaged"))
    (damaged / "decoder.onnx").write_bytes(b"?")
    assert "decoder.onnx was altered or cut off" in refused(capsys, "export", damaged, *out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged"]


# Names of strangers


HOSTILE = [
    '"',
    "\\",
    "\n",
    '" } backend: "python"',
    "]\nbackend: 'x'",
    "{batch}",
    "{ends}",
    "#",
    '\\"',
    "é\u202e\ud800",
    "\0",
]
anything = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec=None)))


@given(st.lists(anything, max_size=4).map("".join))
def test_no_name_ends_its_string(name: str):
    text = f"name: {quoted(name)}\ninput [\n  {{ name: {quoted(name)} data_type: TYPE_FP32 dims: [1] }}\n]\n"
    said = text_format.Parse(f"# {quoted(name)}\n{text}", ModelConfig())
    assert said.name == said.input[0].name == name.encode("utf-8", "backslashreplace").decode()
    assert {field.name for field, _ in said.ListFields()} <= {"name", "input"} and quoted(name).isascii()
    assert "\n" not in quoted(name)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_hostile_manifest_is_refused_or_harmless(colour: Path, tmp_path_factory, data):
    """Any name of the manifest may be anything: what is written means what it would mean without."""
    folder = tmp_path_factory.mktemp("hostile")
    changed, out = Path(shutil.copytree(colour, folder / "bundle")), folder / "models"
    manifest = json.loads((changed / "manifest.json").read_text())
    name = data.draw(anything)
    graph = manifest["graphs"][data.draw(st.integers(0, len(manifest["graphs"]) - 1))]
    where = data.draw(st.sampled_from(["name", "density", "output", "input", "aepipe", "pair", "size", "dtype"]))
    if where == "name":
        manifest["name"] = name
    elif where == "density":
        manifest["densities"][0] = name
        for each in manifest["graphs"]:
            each["density"] = name if each.get("density") == "gaussian" else each.get("density")
    elif where in ("output", "input"):
        graph[f"{where}s"][name] = data.draw(st.sampled_from([*graph["inputs"].values(), *graph["outputs"].values()]))
    elif where in ("aepipe", "pair"):
        manifest[where] = name
    else:
        tensor = next(iter(graph["outputs"].values()))
        tensor.update({"shape": ["batch", name]} if where == "size" else {"dtype": name})
    (changed / "manifest.json").write_text(json.dumps(manifest))
    try:
        export_layout("triton", changed, out)
    except aepipe.AepipeError as error:
        assert error.message and not out.exists()
        return
    for path in out.glob("*/config.pbtxt"):
        said = text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
        assert said.name == path.parent.name and not said.backend and not said.parameters
        assert said.platform in ("ensemble", "onnxruntime_onnx")
    assert sorted(path.name for path in folder.iterdir()) == ["bundle", "models"]


def test_a_refused_density_is_not_in_the_repository(colour_run: Run, tmp_path, call, register):
    class Bad:
        @hookimpl
        def register_densities(self, register):
            register(Sometimes, name="sometimes")

    register(Bad(), "bad")
    run = Path(shutil.copytree(colour_run.directory, tmp_path / "run"))
    Run(run).fit_density("sometimes")
    done = call("export", run, "--layout", "triton", "-o", tmp_path / "models")
    assert done.code == 3 and f"{tmp_path / 'models'} was written without the density 'sometimes'" in done.err
    assert {path.name for path in (tmp_path / "models").iterdir() if path.is_dir()} == MODELS | {"reconstruct"}
    done = call("export", run, "--layout", "triton", "-o", tmp_path / "few", "--density", "pca")
    assert done.code == 0 and not (tmp_path / "few" / "generate_pca").exists()  # the only one is the first
    for option in (("--density", "pca"), ("--without", "pca")):
        assert call("export", colour_run.export(tmp_path / "b", show=False), "--layout", "triton", *option).code == 2


class Sometimes(torch.nn.Module):
    """A density whose graph differs from it."""

    def __init__(self, latent: int):
        super().__init__()
        self.noise_features = latent

    def fit(self, codes):
        pass

    def sample(self, noise):
        return noise + (1.0 if torch.compiler.is_exporting() else 0.0)

    def log_prob(self, codes):
        return codes.sum(1)
