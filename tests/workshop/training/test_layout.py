"""The layout of weights in training: channels last where torch has one, and the ordinary one for what torch cannot lay out."""

from __future__ import annotations

import pytest
import torch
from aepipe.workshop.training.device import fast_layout
from aepipe.workshop.training.model import Autoencoder
from torch import nn

from tests.helpers.networks import Identity

ORDINARY, IMAGES, VOLUMES = torch.contiguous_format, torch.channels_last, torch.channels_last_3d


class Mean(nn.Module):
    "The objective: nothing but the error."

    def losses(self, features, decode, target):
        return {"loss": (decode(features) - target).square().mean()}


class Buffer(nn.Module):
    "Scales by a constant of five dimensions."

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((1,) * 5, 2.0))

    def forward(self, value):
        return value * self.scale.reshape(())


class Through3d(nn.Module):
    "Images as volumes of one slice."

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 2, 1)

    def forward(self, value):
        return self.conv(value[:, :, None])[:, :, 0]


class View(nn.Module):
    def forward(self, value):
        return value.view(len(value), -1).reshape(value.shape)


@pytest.mark.parametrize(
    ("layers", "sides", "wanted"),
    [
        ([nn.Linear(2, 2)], (), ORDINARY),
        ([nn.Conv1d(2, 2, 3, padding=1)], (8,), ORDINARY),
        ([nn.Conv2d(2, 2, 3, padding=1)], (8, 8), IMAGES),
        ([nn.Conv2d(2, 2, 3, padding=1), View()], (8, 8), ORDINARY),
        ([nn.Conv2d(2, 2, 3, padding=1), Through3d()], (8, 8), ORDINARY),
        ([nn.Conv2d(2, 2, 3, padding=1), Buffer()], (8, 8), ORDINARY),
        ([nn.Conv3d(2, 2, 3, padding=1)], (4, 4, 4), VOLUMES),
        (
            [nn.Conv3d(2, 2, 3, padding=1), nn.Flatten(), nn.Linear(128, 128), nn.Unflatten(1, (2, 4, 4, 4))],
            (4, 4, 4),
            VOLUMES,
        ),
        ([nn.Conv3d(2, 2, 3, padding=1), View()], (4, 4, 4), ORDINARY),
    ],
    ids=lambda value: "-".join(type(each).__name__ for each in value) if isinstance(value, list) else str(value),
)
def test_a_model_trains_in_the_layout_that_is_chosen(layers, sides, wanted):
    model = Autoencoder(nn.Sequential(*layers), Mean(), Identity(), 0.4, 0.3)
    samples = torch.rand(3, 2, *sides)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model.losses(samples, samples)["loss"]
    layout = fast_layout(model, samples)
    assert layout == wanted
    assert all(value.is_contiguous() and torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.to(memory_format=layout)
    loss = model.losses(samples, samples)["loss"]
    loss.backward()
    torch.testing.assert_close(loss, expected)
