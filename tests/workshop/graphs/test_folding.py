"""Scales and shifts are folded into the layer beside them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from aepipe.workshop.graphs.folding import fold
from aepipe.workshop.graphs.lowering import lower
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from tests.helpers.graphs import assert_same, graph_of, often, operators, run


def fold_only(model: onnx.ModelProto) -> onnx.ModelProto:
    folded = ir.serde.deserialize_model(model)
    fold(folded.graph)
    return ir.serde.serialize_model(folded)


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


@st.composite
def broadcast(draw, shape):
    """A shape that broadcasts to that of a value [N, *shape] without enlarging it, and where its numbers differ along."""
    aligned = [1, *(draw(st.sampled_from([1, size])) for size in shape)]
    return tuple(aligned[draw(st.integers(0, next((k for k, size in enumerate(aligned) if size > 1), len(aligned)))) :])


@often
@given(st.integers(0, 3), st.sampled_from(["Conv", "ConvTranspose"]), st.booleans(), st.data())
def test_only_one_number_for_all_or_for_each_channel_is_folded(count, kind, before, data):
    """At every rank, and where sides are as long as there are channels: all that is folded or left computes the same."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    normal = lambda *shape: rng.standard_normal(shape, np.float32)  # noqa: E731
    channels = data.draw(st.integers(1, 3))
    sides = tuple(data.draw(st.sampled_from([1, channels, 4])) for _ in range(count))
    kernel = (1,) * count
    given_shape = data.draw(broadcast((channels, *sides)))
    weights = {"c": normal(*given_shape), "w": normal(channels, channels, *kernel)}
    operator = data.draw(st.sampled_from(["Mul"] if kind == "ConvTranspose" and before else ["Mul", "Add"]))
    linear = ("Gemm", {}) if count == 0 else (kind, {"kernel_shape": kernel})
    first, second = (operator, "c", {}), (linear[0], "w", linear[1])
    nodes, value = [], "x"
    for name, constant, settings_ in (first, second) if before else (second, first):
        made = f"{value}{name}"
        nodes.append(helper.make_node(name, [value, constant], [made], **settings_))
        value = made
    nodes[-1].output[0] = "y"
    model = graph_of(nodes, (channels, *sides), weights, ["N", channels, *sides])
    folded = fold_only(model)
    aligned = (1,) * (2 + count - len(given_shape)) + given_shape
    per_channel = aligned == (1, channels, *(1,) * count) or weights["c"].size == 1
    assert operators(folded) == ([linear[0]] if per_channel else operators(model))
    x = normal(2, channels, *sides)
    assert_same(run(folded, x), run(model, x))


@often
@given(st.integers(0, 3), st.data())
def test_across_a_flattening_only_one_number_for_all_is_folded(count, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    normal = lambda *shape: rng.standard_normal(shape, np.float32)  # noqa: E731
    shape = data.draw(st.tuples(*[st.integers(1, 3)] * (1 + count)))
    size = int(np.prod(shape))
    given_shape = data.draw(broadcast(shape))
    weights, step = {"w": normal(size, 4)}, ["x", "c"]
    if data.draw(st.booleans()):
        weights |= {name: np.abs(normal(shape[0])) + 0.1 for name in "gems"}
        operator, step, single = "BatchNormalization", ["x", *"gems"], shape[0] == 1
    else:
        weights["c"] = normal(*given_shape)
        operator, single = data.draw(st.sampled_from(["Mul", "Add"])), weights["c"].size == 1
    nodes = [
        helper.make_node(operator, step, ["a"]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"]),
    ]
    model = graph_of(nodes, shape, weights, ["N", 4])
    folded, x = fold_only(model), normal(2, *shape)
    assert (operator not in operators(folded)) == single
    assert_same(run(folded, x), run(model, x))


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
