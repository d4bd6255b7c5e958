"""Graph surgery is exact: a rewritten graph computes what torch computes, for every kernel, stride, padding, dilation and group."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from aepipe.workshop.graphs.lowering import lower
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from torch import nn

from tests.helpers.graphs import assert_same, graph_of, often, operators, run

pair = st.tuples(st.integers(1, 6), st.integers(1, 6))


TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@st.composite
def transposed(draw, ranks=(1, 2, 3)):
    """Every setting of a transposed convolution that torch accepts, small."""
    groups, bias, sides = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.sampled_from(ranks))
    channels = draw(st.integers(1, 3)) * groups, draw(st.integers(1, 3)) * groups
    each = lambda most: draw(st.tuples(*[st.integers(1, most)] * sides))  # noqa: E731
    kernel, stride, dilation = each(6 if sides < 3 else 3), each(4 if sides < 3 else 3), each(3 if sides < 3 else 2)
    if draw(st.booleans()):
        stride = (stride[0],) * sides
    padding = tuple(draw(st.integers(0, d * (k - 1) + 2)) for k, d in zip(kernel, dilation, strict=True))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    size = tuple(
        draw(
            st.integers(1, 7).filter(
                lambda n, i=i: (n - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1) + extra[i] + 1 > 0
            )
        )
        for i in range(sides)
    )
    return channels, kernel, stride, padding, extra, groups, bias, dilation, size


def graph_of_layer(layer: nn.Module, given, made, function: str = ""):
    """The layer and a function after it as a graph; sides may be numbers or names."""
    names = {
        "kernel_shape": layer.kernel_size,
        "strides": layer.stride,
        "pads": [*layer.padding, *layer.padding],
        "output_padding": layer.output_padding,
        "group": layer.groups,
        "dilations": layer.dilation,
    }
    weights = {name: value.detach().numpy() for name, value in zip(("w", "b"), layer.parameters(), strict=False)}
    nodes = [helper.make_node("ConvTranspose", ["x", *weights], ["t" if function else "y"], **names)]
    nodes += [helper.make_node(function, ["t"], ["y"])] if function else []
    return graph_of(nodes, (layer.in_channels, *given), weights, ["N", layer.out_channels, *made])


@often
@given(transposed(), st.sampled_from(["", "Relu", "Tanh"]), st.integers(0, 99))
def test_every_transposed_convolution_is_a_convolution(setting, function, seed):
    (inputs, outputs), kernel, stride, padding, extra, groups, bias, dilation, size = setting
    torch.manual_seed(seed)
    layer = TRANSPOSED[len(size)](inputs, outputs, kernel, stride, padding, extra, groups, bias, dilation)
    x = torch.randn(2, inputs, *size)
    with torch.no_grad():
        y = layer(x)
        y = {"": y, "Relu": y.relu(), "Tanh": y.tanh()}[function].numpy()
    model = graph_of_layer(layer, size, y.shape[2:], function)
    lowered = lower(model, least=0)
    assert "ConvTranspose" not in operators(lowered)
    assert_same(run(lowered, x.numpy()), y)


@settings(often, max_examples=60)
@given(transposed(), st.integers(0, 99))
def test_open_sides_give_what_torch_gives_at_every_size(setting, seed):
    (inputs, outputs), kernel, stride, padding, extra, groups, bias, dilation, size = setting
    torch.manual_seed(seed)
    layer = TRANSPOSED[len(size)](inputs, outputs, kernel, stride, padding, extra, groups, bias, dilation)
    model = graph_of_layer(layer, [f"8*{name}" for name in "dhw"[: len(size)]], "DHW"[: len(size)])
    lowered = lower(model, least=0)
    assert "ConvTranspose" not in operators(lowered)
    for longer in (0, 1, 3):
        x = torch.randn(2, inputs, *(side + longer * (1 + axis) for axis, side in enumerate(size)))
        with torch.no_grad():
            assert_same(run(lowered, x.numpy()), layer(x).numpy())


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    ("channels", "kernel", "side", "is_lowered"),
    [
        ((32, 1), 4, (512,), False),
        ((32, 32), 4, (512,), True),
        ((32, 1), 4, (32, 32), True),
        ((32, 1), 4, (12, 12, 12), False),
        ((32, 32), 3, (12, 12, 12), False),
        ((8, 32), 4, (12, 12, 12), True),
    ],
)
def test_signals_and_volumes_are_lowered_where_that_was_measured_to_be_faster(
    channels, kernel, side, is_lowered, opened
):
    """32 channels gathered for one are slower than one scattered; of images the convolution is faster in any case."""
    layer = TRANSPOSED[len(side)](*channels, kernel, 2, 1)
    with torch.no_grad():
        after = layer(torch.zeros(1, channels[0], *side)).shape[2:]
    model = graph_of_layer(layer, "dhw"[: len(side)] if opened else side, "DHW"[: len(side)] if opened else after)
    assert ("ConvTranspose" not in operators(lower(model))) == is_lowered
    assert "ConvTranspose" not in operators(lower(model, least=0))  # for int8, which has no transposed convolution


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
@given(st.integers(1, 4), st.integers(1, 6), pair, st.data())
def test_a_convolution_to_few_channels_in_blocks_at_every_size(outputs, inputs, kernel, data):
    """Sides that vary, of a convolution that keeps them: whatever remains beside whole blocks is cropped."""
    rng = np.random.default_rng(outputs)
    weights = {
        "w": rng.standard_normal((outputs, inputs, *kernel), np.float32),
        "b": rng.standard_normal(outputs, np.float32),
    }
    begins = [data.draw(st.integers(0, k - 1)) for k in kernel]
    pads = [*begins, *(k - 1 - begin for k, begin in zip(kernel, begins, strict=True))]
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["t"], kernel_shape=kernel, pads=pads)]
    nodes += [helper.make_node("Tanh", ["t"], ["y"])]
    model = graph_of(nodes, (inputs, "h", "w"), weights, ["N", outputs, "h", "w"])
    lowered = lower(model)
    assert ("DepthToSpace" in operators(lowered)) >= (outputs == 1 and min(kernel) > 2)
    for size in ((1, 1), (3, 8), (13, 6)):
        x = rng.standard_normal((2, inputs, *size), np.float32)
        assert_same(run(lowered, x), run(model, x))


def test_a_convolution_that_changes_sides_which_vary_is_left_alone():
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[5, 5], pads=[1, 1, 1, 1])]
    model = graph_of(nodes, (2, "h", "w"), {"w": np.ones((1, 2, 5, 5), np.float32)}, ["N", 1, "h2", "w2"])
    assert operators(lower(model)) == ["Conv"]


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


def test_computed_weights_are_left_alone():
    nodes = [helper.make_node("Relu", ["x"], ["w"]), helper.make_node("ConvTranspose", ["x", "w"], ["y"])]
    model = graph_of(nodes, (2, 3, 3), {}, ["N", 2, 5, 5])
    assert operators(lower(model, least=0)) == ["Relu", "ConvTranspose"]
