"""The graphs of a bundle: plain ONNX that computes what torch computes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import aepipe
import numpy as np
import onnx
import pytest
import torch
from aepipe.bundle.manifest import sample_tensor, tensor
from aepipe.space import Space
from aepipe.workshop.export.to_onnx import Job, export_graphs, learned_graph
from aepipe.workshop.training.model import build
from torch import nn

from tests.helpers.bundles import manifest_of, run_graph

DENSITY = ("sample", "log_prob", "noise")


@pytest.fixture(scope="module")
def graphs(digits_bundle: Path) -> list[tuple[dict, onnx.ModelProto]]:
    entries = manifest_of(digits_bundle)["graphs"]
    return [(entry, onnx.load(digits_bundle / entry["file"], load_external_data=False)) for entry in entries]


def test_versions_names_and_batch(graphs):
    for entry, model in graphs:
        onnx.checker.check_model(model, full_check=True)
        assert model.ir_version == 10 and [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
        for tensors, wanted in ((model.graph.input, entry["inputs"]), (model.graph.output, entry["outputs"])):
            assert [each.name for each in tensors] == list(wanted)
            for each in tensors:
                sizes = [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
                assert sizes == wanted[each.name]["shape"]
                assert each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert not any(each.external_data for each in model.graph.initializer)


def test_nothing_of_the_exporter_is_left(graphs, digits_bundle: Path):
    for entry, model in graphs:
        graph = model.graph
        parts = [graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info]
        assert not any(part.metadata_props or part.doc_string for part in parts)
        assert not model.functions and model.producer_name == "aepipe"
        content = (digits_bundle / entry["file"]).read_bytes()
        for trace in (b"site-packages", b".py", b"torch", str(Path.home()).encode(), b"batch0", b"parts."):
            assert trace not in content, (entry["file"], trace)
        used = {name for node in graph.node for name in node.input}
        assert {each.name for each in graph.initializer} <= used  # no weights of the other graphs


def test_every_graph_explains_itself(graphs, digits_bundle: Path):
    m = manifest_of(digits_bundle)
    for entry, model in graphs:
        said = {each.key: each.value for each in model.metadata_props}
        assert said.pop("aepipe.density", None) == entry.get("density")
        assert said == {
            "aepipe.pair": m["pair"],
            "aepipe.version": aepipe.__version__,
            "aepipe.latent": "4",
            "aepipe.image": "[1, 28, 28]",
            "aepipe.task": "reconstruct",
            "aepipe.role": entry["role"],
        }


def test_the_lectures_graphs_hold_nothing_needless(graphs):
    nodes = {entry["file"]: [node.op_type for node in model.graph.node] for entry, model in graphs}
    assert nodes["encoder.onnx"] == [*["Conv", "Relu"] * 4, "Conv", "Reshape"]
    small = ["Gemm", "Relu", "Reshape", "ConvTranspose", "Relu"]
    large = ["Conv", "Relu", "DepthToSpace", "Conv", "Relu", "Conv", "Clip", "DepthToSpace"]
    assert nodes["decoder.onnx"] == small + large
    weights = {each.name for each in graphs[0][1].graph.initializer}
    assert {"encoder.2.weight", "encoder.8.bias"} <= weights and not {"mean", "std"} & weights


@pytest.mark.parametrize("batch", [1, 3, 65])
def test_the_batch_is_dynamic_and_changes_nothing(digits_bundle: Path, digits_run, batch: int):
    array = np.random.default_rng(0).random((65, 1, 28, 28), dtype=np.float32)
    codes = run_graph(digits_bundle / "encoder.onnx", array[:batch])
    decoded = run_graph(digits_bundle / "decoder.onnx", codes)
    with torch.no_grad():
        model = digits_run.model()
        expected = model.encode(torch.from_numpy(array))[:batch]
        np.testing.assert_allclose(codes, expected.numpy(), atol=1e-4)
        np.testing.assert_allclose(decoded, model.decode(expected).numpy(), atol=1e-5)
    assert decoded.min() >= 0 and decoded.max() <= 1
    for name, role in product(("gaussian", "pca"), DENSITY):
        assert len(run_graph(digits_bundle / f"density/{name}/{role}.onnx", codes)) == batch


ENCODERS = ("conv:channels=8", "mlp:hidden=32", "pca")
DECODERS = ("deconv:channels=8", "upsample:channels=8", "upsample:channels=8,mode=bilinear", "mlp:hidden=32", "pca")


@pytest.mark.trains
@pytest.mark.slow
def test_every_built_in_exports_at_every_shape(tmp_path):
    """All of them as one export; what each graph gives is compared with torch at another batch than it was traced with."""
    jobs, models = [], []
    for shape, decoder in product(((3, 17, 23), (1, 5, 64)), DECODERS):
        parts = {"encoder": ENCODERS[len(models) % 3], "decoder": decoder, "objective": ("mse", "vae")[len(models) % 2]}
        if parts["encoder"] == "pca":
            parts["objective"] = "mse"
        model = build(parts, shape, 5, 0.2, 0.4).eval().requires_grad_(False)
        models.append(model)
        image, latent = sample_tensor(Space.of(shape)), tensor(5)
        graphs = learned_graph("encoder", image, latent), learned_graph("decoder", latent, image)
        for method, graph in zip(("encode", "decode"), graphs, strict=True):
            jobs.append(Job(model, method, replace(graph, file=f"{len(models)}/{graph.file}")))
    for lowered in (True, False):
        export_graphs(jobs, tmp_path, {}, lowered=lowered)
        for job in jobs:
            (given,) = job.graph.inputs.values()
            values = torch.randn(7, *given.shape[1:])
            expected = getattr(job.module, job.method)(values).numpy()
            np.testing.assert_allclose(
                run_graph(tmp_path / job.graph.file, values.numpy()), expected, atol=1e-4, rtol=1e-4
            )
            operators = {node.op_type for node in onnx.load(tmp_path / job.graph.file).graph.node}
            assert not operators & {"Shape", "Gather", "Concat"}, job.graph.file


class Awkward(nn.Module):
    """A density whose tensors are called like the ends of its graphs, and whose code is its noise."""

    def __init__(self, latent: int):
        super().__init__()
        self.noise_features = latent
        for name in ("latent", "noise_", "log_prob_", "in0", "out0"):
            self.register_buffer(name, torch.full((latent,), 2.0))

    def fit(self, codes):
        pass

    def sample(self, noise):
        return noise

    def log_prob(self, codes):
        return (codes * self.latent + self.in0 - self.out0).sum(1)


@pytest.mark.trains
def test_tensors_named_like_the_ends_of_a_graph(tmp_path):
    density = Awkward(3)
    jobs = [
        Job(density, "sample", learned_graph("sample", tensor(3), tensor(3))),
        Job(density, "log_prob", learned_graph("log_prob", tensor(3), tensor())),
    ]
    export_graphs(jobs, tmp_path, {}, lowered=True)
    values = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_array_equal(run_graph(tmp_path / "sample.onnx", values), values)
    np.testing.assert_allclose(run_graph(tmp_path / "log_prob.onnx", values), 2 * values.sum(1), rtol=1e-5)
