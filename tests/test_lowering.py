"""Graph surgery is exact: a rewritten graph computes what torch computes, for every kernel, stride, padding, dilation and group."""

from __future__ import annotations

import aepipe
import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from aepipe.workshop.graphs.folding import fold
from aepipe.workshop.graphs.lowering import lower
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

EXACT = 2e-6  # relative to the largest value: rounding of float32

often = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def graph_of(nodes, shape, weights, outputs) -> onnx.ModelProto:
    """A model x [N, *shape] to y, opset 18, with constants."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
        for name, sizes in (("x", ["N", *shape]), ("y", outputs))
    ]
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    import onnxruntime as ort

    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def fold_only(model: onnx.ModelProto) -> onnx.ModelProto:
    folded = ir.serde.deserialize_model(model)
    fold(folded.graph)
    return ir.serde.serialize_model(folded)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= EXACT * max(1.0, float(np.abs(expected).max()))


pair = st.tuples(st.integers(1, 6), st.integers(1, 6))


@st.composite
def transposed(draw):
    """Every setting of a ConvTranspose2d that torch accepts, small."""
    groups, bias = draw(st.integers(1, 3)), draw(st.booleans())
    channels = draw(st.integers(1, 3)) * groups, draw(st.integers(1, 3)) * groups
    kernel, stride, dilation = (
        draw(pair),
        draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
    )
    if draw(st.booleans()):
        stride = (stride[0], stride[0])
    padding = tuple(draw(st.integers(0, d * (k - 1) + 2)) for k, d in zip(kernel, dilation, strict=True))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    size = tuple(
        draw(
            st.integers(1, 7).filter(
                lambda n, i=i: (n - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1) + extra[i] + 1 > 0
            )
        )
        for i in (0, 1)
    )
    return channels, kernel, stride, padding, extra, groups, bias, dilation, size


@often
@given(transposed(), st.sampled_from(["", "Relu", "Tanh"]), st.integers(0, 99))
def test_every_transposed_convolution_is_a_convolution(setting, function, seed):
    (inputs, outputs), kernel, stride, padding, extra, groups, bias, dilation, size = setting
    torch.manual_seed(seed)
    layer = nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, extra, groups, bias, dilation)
    x = torch.randn(2, inputs, *size)
    with torch.no_grad():
        y = layer(x)
        y = {"": y, "Relu": y.relu(), "Tanh": y.tanh()}[function].numpy()
    names = {
        "kernel_shape": kernel,
        "strides": stride,
        "pads": [*padding, *padding],
        "output_padding": extra,
        "group": groups,
        "dilations": dilation,
    }
    weights = {name: value.detach().numpy() for name, value in zip(("w", "b"), layer.parameters(), strict=False)}
    nodes = [helper.make_node("ConvTranspose", ["x", *weights], ["t" if function else "y"], **names)]
    nodes += [helper.make_node(function, ["t"], ["y"])] if function else []
    model = graph_of(nodes, (inputs, *size), weights, ["N", *y.shape[1:]])
    lowered = lower(model, least=0)
    assert "ConvTranspose" not in operators(lowered)
    assert_same(run(lowered, x.numpy()), y)


@often
@given(
    st.integers(1, 4),
    st.integers(1, 6),
    pair,
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.integers(6, 13), st.integers(6, 13)),
)
def test_a_convolution_to_few_channels_in_blocks(outputs, inputs, kernel, pads, size):
    rng = np.random.default_rng(outputs)
    weights = {
        "w": rng.standard_normal((outputs, inputs, *kernel), np.float32),
        "b": rng.standard_normal(outputs, np.float32),
    }
    sizes = [size[i] + pads[i] + pads[i + 2] - kernel[i] + 1 for i in (0, 1)]
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=kernel, pads=pads)]
    model = graph_of(nodes, (inputs, *size), weights, ["N", outputs, *sizes])
    x = rng.standard_normal((3, inputs, *size), np.float32)
    lowered = lower(model)
    if outputs == 1 and min(kernel) > 2 and min(sizes) >= 8:  # elsewhere blocks may cost more than they save
        assert "DepthToSpace" in operators(lowered)
    assert_same(run(lowered, x), run(model, x))


@often
@given(st.data())
def test_affine_steps_around_a_layer_are_folded(data):
    """x·a + b, a convolution of any kind or a Gemm, then scales, shifts and a batch norm: one layer is left, of the same result."""
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kind, groups = draw(st.sampled_from(["Conv", "ConvTranspose", "Gemm"])), draw(st.integers(1, 2))
    inputs, outputs = 2 * groups, 3 * groups
    padded = kind == "Conv" and draw(st.booleans())
    normal = lambda *shape: rng.standard_normal(shape, np.float32)  # noqa: E731
    flat = kind == "Gemm"
    per_channel = lambda count: normal(count) if flat else normal(1, count, 1, 1)  # noqa: E731
    weights, nodes, value = {}, [], "x"

    def step(operator, array):
        nonlocal value
        name = f"c{len(nodes)}"
        weights[name] = array
        nodes.append(helper.make_node(operator, [value, name], [f"v{len(nodes)}"]))
        value = f"v{len(nodes) - 1}"

    for operator in draw(
        st.lists(
            st.sampled_from(["Mul", "Div"] if padded or kind == "ConvTranspose" else ["Sub", "Div", "Mul", "Add"]),
            max_size=2,
        )
    ):
        step(operator, draw(st.sampled_from([np.float32(1.5), per_channel(inputs)])))
    if flat:
        weights |= {"w": normal(inputs, outputs), "b": normal(outputs)}
        settings_ = {}
    else:
        sizes = (outputs, inputs // groups) if kind == "Conv" else (inputs, outputs // groups)
        weights |= {"w": normal(*sizes, 3, 3), "b": normal(outputs)}
        settings_ = {"kernel_shape": [3, 3], "group": groups, **({"pads": [1, 0, 2, 1]} if padded else {})}
    nodes.append(
        helper.make_node(kind, [value, "w", *(["b"] if draw(st.booleans()) else [])], [f"v{len(nodes)}"], **settings_)
    )
    value = f"v{len(nodes) - 1}"
    for operator in draw(st.lists(st.sampled_from(["Mul", "Add", "Sub", "Div"]), max_size=3)):
        step(operator, draw(st.sampled_from([np.float32(-0.5), per_channel(outputs)])))
    if not flat and draw(st.booleans()):
        weights |= {
            "g": normal(outputs),
            "e": normal(outputs),
            "m": normal(outputs),
            "s": np.abs(normal(outputs)) + 0.1,
        }
        nodes.append(helper.make_node("BatchNormalization", [value, "g", "e", "m", "s"], [f"v{len(nodes)}"]))
    nodes[-1].output[0] = "y"
    shape = (inputs,) if flat else (inputs, 5, 6)
    used = {name: weights[name] for node in nodes for name in node.input if name in weights}
    model = graph_of(nodes, shape, used, ["N", outputs] if flat else ["N", outputs, "h", "w"])
    x = normal(4, *shape)
    folded = fold_only(model)
    assert operators(folded) == [kind]
    assert np.abs(run(folded, x) - run(model, x)).max() <= 1e-4 * max(1, np.abs(run(model, x)).max())


def test_a_shift_before_padding_stays():
    """The zeros of the padding are not shifted, so that only the scale can be folded."""
    weights = {"m": np.float32(0.3), "s": np.float32(2), "w": np.ones((1, 1, 3, 3), np.float32)}
    nodes = [
        helper.make_node("Sub", ["x", "m"], ["a"]),
        helper.make_node("Div", ["a", "s"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
    ]
    model = graph_of(nodes, (1, 6, 6), weights, ["N", 1, 3, 3])
    x = np.random.default_rng(0).random((2, 1, 6, 6), np.float32)
    folded = lower(model)
    assert operators(folded) == ["Sub", "Conv"]
    assert_same(run(folded, x), run(model, x))


def test_what_is_read_twice_is_left_alone():
    weights = {"w": np.ones((2, 16, 3, 3), np.float32), "s": np.float32(2)}
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["t"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["t"], ["r"]),
        helper.make_node("Mul", ["t", "s"], ["m"]),
        helper.make_node("Add", ["r", "m"], ["y"]),
    ]
    model = graph_of(nodes, (2, 4, 4), weights, ["N", 16, 6, 6])
    x = np.random.default_rng(0).standard_normal((2, 2, 4, 4), np.float32)
    lowered = lower(model, least=0)
    assert sorted(operators(lowered)) == ["Add", "Conv", "Mul", "Relu"]
    assert_same(run(lowered, x), run(model, x))


def test_computed_weights_and_one_dimension_are_left_alone():
    weights = {"w": np.ones((2, 2, 3), np.float32)}
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], kernel_shape=[3], strides=[2])]
    model = graph_of(nodes, (2, 4), weights, ["N", 2, 9])
    assert operators(lower(model, least=0)) == ["ConvTranspose"]
    nodes = [helper.make_node("Relu", ["x"], ["w"]), helper.make_node("ConvTranspose", ["x", "w"], ["y"])]
    model = graph_of(nodes, (2, 3, 3), {}, ["N", 2, 5, 5])
    assert operators(lower(model, least=0)) == ["Relu", "ConvTranspose"]


def test_a_bundle_is_lowered_unless_told_otherwise(digits_run, tmp_path):
    digits_run.export(tmp_path / "lowered", show=False)
    digits_run.export(tmp_path / "ordinary", lower="none", show=False)
    lowered, ordinary = (onnx.load(tmp_path / name / "decoder.onnx") for name in ("lowered", "ordinary"))
    assert {"DepthToSpace", "Gemm", "Conv"} <= set(operators(lowered))
    assert "Conv" not in operators(ordinary) and operators(ordinary).count("ConvTranspose") == 5
    assert not {"Shape", "Gather", "Mul", "Add", "Div", "Sub"} & set(operators(lowered))
    noise = np.random.default_rng(0).standard_normal((9, 4), np.float32)
    images = [aepipe.load(tmp_path / name, "cpu").decode(noise) for name in ("lowered", "ordinary")]
    np.testing.assert_allclose(*images, atol=1e-6)


@pytest.mark.parametrize("value", ["all", ""])
def test_an_unknown_lowering_is_refused(digits_run, tmp_path, value):
    with pytest.raises(aepipe.BadInput, match="lower"):
        digits_run.export(tmp_path / "x", lower=value)
