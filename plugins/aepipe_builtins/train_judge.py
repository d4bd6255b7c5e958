"""Train a judge: a small classifier whose features tell `aepipe eval --density` how close samples come to real images.

    python -m aepipe_builtins.train_judge --data mnist -o mnist.onnx

Any data set with labels will do. The graph takes images f32 [N, C, H, W] in 0..1 and gives the features f32 [N, 64], which are
the layer before the logits, and the logits. It has opset 18 and IR 10, and its batch norms are folded.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import torch
from aepipe.bundle.manifest import sha256
from aepipe.errors import AepipeError, BadInput
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from aepipe.images.source import Source
from aepipe.judging.judge import FEATURES
from aepipe.progress import progress, say
from aepipe.workshop.graphs.folding import fold
from aepipe.workshop.training.device import choose_device, has_fast_bf16
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    import onnx

WIDTH = 64  # the number of features
SHIFT = 2  # training moves each image by up to so many pixels
OPSET, IR = 18, 10


class Judge(nn.Module):
    """Four convolutions with batch norms, three poolings, then the features."""

    def __init__(self, shape: tuple[int, int, int], classes: int):
        super().__init__()
        channels, height, width = shape

        def block(before: int, after: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        pool = nn.MaxPool2d(2)
        steps = [*block(channels, 16), pool, *block(16, 32), *block(32, 48), pool, *block(48, 64), pool]
        left = 64 * (height // 8) * (width // 8)
        self.features = nn.Sequential(*steps, nn.Flatten(), nn.Linear(left, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.logits = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(images)
        return features, self.logits(self.dropout(features))


def read(data: str, split: str) -> tuple[Tensor, Tensor]:
    """Images f32 [N, C, H, W] in 0..1 and labels int64 [N]; raises BadInput without labels and for images that are too small."""
    source: Source = open_images(data, split=split)
    if source.labels is None:
        raise BadInput(f"{data} has no labels, and a judge learns from labels", "use mnist, digits or fashion-mnist")
    if min(source.shape[1:]) < 8:
        raise BadInput(f"{data} has images of shape {list(source.shape)}, too small", "8 by 8 pixels are the least")
    images = as_float(source.read(np.arange(len(source))))
    return torch.from_numpy(images), torch.from_numpy(source.labels.astype(np.int64))


def shifted(images: Tensor) -> Tensor:
    """Move each image by up to SHIFT pixels in both directions; the pixels that become free are black."""
    count, _, height, width = images.shape
    padded = functional.pad(images, [SHIFT] * 4)
    top, left = torch.randint(2 * SHIFT + 1, (2, count, 1), device=images.device)
    rows = (top + torch.arange(height, device=images.device))[:, :, None]
    columns = (left + torch.arange(width, device=images.device))[:, None]
    return padded[torch.arange(count)[:, None, None], :, rows, columns].movedim(3, 1)


def trained(images: Tensor, labels: Tensor, epochs: int, device: torch.device) -> Judge:
    """Train a judge with cross-entropy, AdamW and one cycle of the learning rate (Smith and Topin, 2019)."""
    judge = Judge(tuple(images.shape[1:]), int(labels.max()) + 1).to(device, memory_format=torch.channels_last)
    images, labels = images.to(device), labels.to(device)
    optimiser = torch.optim.AdamW(judge.parameters(), weight_decay=0.01)
    batch, count = min(128, len(images)), len(images)
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.01, total_steps=steps)
    with progress("training the judge", steps) as advance:
        for _ in range(epochs):
            for rows in torch.randperm(count, device=device)[: count // batch * batch].split(batch):
                inputs = shifted(images[rows]).contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bf16(device)):
                    _, logits = judge(inputs)
                loss = functional.cross_entropy(logits.float(), labels[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                advance(1, f"loss {loss.item():.4f}")
    return judge.cpu().eval()


@torch.no_grad()
def accuracy(judge: Judge, images: Tensor, labels: Tensor) -> float:
    """The share of the images whose largest logit is that of their label."""
    right = [
        judge(part)[1].argmax(1) == truth for part, truth in zip(images.split(500), labels.split(500), strict=True)
    ]
    return float(torch.cat(right).double().mean())


def exported(judge: Judge, shape: tuple[int, ...], note: dict[str, object]) -> onnx.ModelProto:
    """The graph from image to features and logits, with `note` as its metadata `aepipe.judge`."""
    import onnx
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            judge.to(memory_format=torch.contiguous_format),
            (torch.zeros(2, *shape),),
            input_names=["image"],
            output_names=[FEATURES, "logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model
    fold(model.graph)
    RemoveUnusedNodesPass()(model)
    for each in [model.graph, *model.graph, *model.graph.inputs, *model.graph.outputs]:
        each.metadata_props.clear()  # this removes the exporter's stack traces
    for value in [value for node in model.graph for value in node.outputs] + list(model.graph.initializers.values()):
        value.metadata_props.clear()
    model.ir_version, model.graph.name = IR, "aepipe judge"
    model.metadata_props.clear()
    model.metadata_props["aepipe.judge"] = json.dumps(note)
    proto = ir.serde.serialize_model(model)
    proto.producer_name, proto.producer_version = "aepipe", ""
    onnx.checker.check_model(proto)
    return proto


@click.command()
@click.option("--data", required=True, metavar="SPEC|PATH", help="Images with labels.")
@click.option("-o", "--out", required=True, metavar="FILE.onnx", help="Where the judge goes.")
@click.option("--epochs", default=6, show_default=True, type=click.IntRange(1))
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--seed", default=0, show_default=True, type=int)
def main(data: str, out: str, epochs: int, device: str, seed: int) -> None:
    """Train a judge on the labels of a data set and export it; prints its test accuracy and its SHA-256."""
    try:
        torch.manual_seed(seed)
        judge = trained(*read(data, "train"), epochs, choose_device(device))
        images, labels = read(data, "test")
        found = accuracy(judge, images, labels)
        note = {"data": data, "accuracy": round(found, 6), "features": WIDTH, "epochs": epochs, "seed": seed}
        Path(out).write_bytes(exported(judge, tuple(images.shape[1:]), note).SerializeToString())
    except (AepipeError, OSError) as error:
        raise click.ClickException(str(error)) from error
    say(f"{out}: {found:.2%} of the {len(labels)} test images of {data} are right, SHA-256 {sha256(Path(out))}")


if __name__ == "__main__":
    main()
