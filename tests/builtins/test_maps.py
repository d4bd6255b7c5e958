"""The pair `resnet-map` makes maps of samples of any size, with one, two and three sides."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from aepipe import plugins
from aepipe.space import Size
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.networks import pair


def networks(shape: tuple[int | None, ...], code: Size, down: int):
    torch.manual_seed(0)
    encoder = plugins.create("encoder", f"resnet-map:channels=4,blocks=1,down={down}", shape, code)
    return encoder, plugins.create("decoder", "resnet-map:channels=4,blocks=1", code, shape)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 2), min_size=1, max_size=3), st.integers(0, 2), st.integers(1, 3), st.data())
def test_codes_are_halved_and_doubled_again(counts: list[int], down: int, channels: int, data: st.DataObject):
    """Whatever side of the shape is open, the networks are the same, and take every multiple."""
    sides, small = tuple(count * 2**down for count in counts), tuple(counts)
    both = networks((channels, *sides), Size(5, *small), down)
    open_ = data.draw(st.sets(st.integers(0, len(sides) - 1), max_size=len(sides) - 1))
    hide = lambda sizes: tuple(None if k in open_ else size for k, size in enumerate(sizes))  # noqa: E731
    for fixed, varies in zip(both, networks((channels, *hide(sides)), Size(5, *hide(small)), down), strict=True):
        assert fixed.multiple == varies.multiple == 2**down
        weights, others = fixed.state_dict(), varies.state_dict()
        assert weights.keys() == others.keys() and all(torch.equal(weights[key], others[key]) for key in weights)
    larger = tuple(count + data.draw(st.integers(0, 1)) for count in counts)
    samples = torch.randn(2, channels, *(count * 2**down for count in larger))
    encoder, decoder = both
    assert encoder(samples).shape == (2, 5, *larger)
    assert decoder(encoder(samples)).shape == samples.shape


def test_a_plain_number_is_the_channels_of_the_map():
    encoder = plugins.create("encoder", "resnet-map:channels=4", (1, None, None), 6)
    assert encoder(torch.zeros(2, 1, 16, 8)).shape == (2, 6, 2, 1)


@pytest.mark.trains
@pytest.mark.parametrize(
    ("encoder", "sides"), product(("resnet-map:channels=8,blocks=1,down=1", "identity"), [(32,), (8, 12), (4, 4, 4)])
)
def test_it_learns(encoder: str, sides: tuple[int, ...]):
    shape = (1, *sides)
    code = Size(*shape) if encoder == "identity" else Size(4, *(side // 2 for side in sides))
    model = pair(encoder, "resnet-map:channels=8,blocks=1", shape, code)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    samples = torch.rand(8, 1, *(1,) * len(sides)).expand(8, *shape)  # even areas of eight levels
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        losses.append(model.losses(samples, samples)["loss"])
        losses[-1].backward()
        optimiser.step()
    assert min(losses[-5:]) < losses[0] / 1.05
