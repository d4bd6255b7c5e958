"""Checks of encoders and decoders. Only the kit imports this file, so it may import torch."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from aepipe.plugins.kinds import SHAPES, SIZE

from .exporting import ROWS, check_graphs
from .modules import (
    NO_STATE,
    USE_SEED,
    check_rows,
    check_state_file,
    check_untouched,
    require_equal,
    require_same_state,
    require_tensor,
    training,
)
from .pairs import Batches, build, example, inputs, network, output_shape, pair, train, trainable, usual_shape
from .report import NotApplicable, Refused, Subject, require, trying

UNUSUAL_SHAPES = ((3, 9, 13), (1, 5, 7), (3, 17), (1, 5, 6, 7))
COLOUR_SHAPE = (3, 12, 16)
BATCHES = (1, 2, 5)
READ_IN_BATCHES = "only iterate over `images`, as often as needed: it has no length and no index"


def gives_the_right_shape(subject: Subject) -> None:
    """float32 of the contract's shape, at several image sizes, code sizes and batch sizes, odd and small ones included."""
    cases = [(shape, SIZE) for shape in (*SHAPES, *UNUSUAL_SHAPES)] + [
        (usual_shape(subject), size) for size in (1, 2, 9)
    ]
    unit = "features" if subject.kind == "encoder" else "numbers a code"
    for shape, size in cases:
        try:
            net = build(subject, shape, size).eval()
        except Refused:
            continue
        for count in BATCHES:
            what = f"the output for {count} x {list(shape)} with {size} {unit}"
            if len(shape) != len(usual_shape(subject)) and _fails(net, inputs(subject, shape, count, size)):
                break  # it need not know samples of other kinds, nor that there are any
            with torch.no_grad(), trying(what, "support this size, or refuse it in the factory with ValueError"):
                require_tensor(
                    what, net(inputs(subject, shape, count, size)), output_shape(subject, shape, count, size)
                )


def _fails(net: Callable[[Tensor], object], values: Tensor) -> bool:
    try:
        with torch.no_grad():
            net(values)
        return False
    except Exception:
        return True


def treats_samples_alone(subject: Subject) -> None:
    """In evaluation mode the output for one sample does not depend on the others."""
    shape = usual_shape(subject)
    net = network(subject, pair(subject, shape)).eval()
    check_rows("forward", net, inputs(subject, shape, 4))


def leaves_its_input(subject: Subject) -> None:
    """forward does not change its input, neither in training nor in evaluation mode."""
    shape = usual_shape(subject)
    net = build(subject, shape)
    with torch.no_grad():
        for mode in (True, False):
            check_untouched("forward", net.train(mode), inputs(subject, shape, 4))


def follows_the_seed(subject: Subject) -> None:
    """The same seed gives the same weights, and evaluation gives the same output twice."""
    shape = usual_shape(subject)
    first, second = pair(subject, shape, seed=1), pair(subject, shape, seed=1)
    require_same_state(network(subject, first), network(subject, second))
    with torch.no_grad():
        models = (first, first, second)
        once, again, other = (network(subject, each).eval()(inputs(subject, shape, 4)) for each in models)
    require_equal(once, again, "two calls of forward in evaluation mode differ", "be random in training mode only")
    require_equal(once, other, "two builds under one seed compute different outputs", USE_SEED)


def passes_gradients(subject: Subject) -> None:
    """The gradient of the objective `mse` reaches every parameter; through a decoder it also reaches the encoder."""
    shape = usual_shape(subject)
    model = trainable(subject, shape)
    names = {"encoder": model.encoder, "decoder": model.decoder}
    reached = train(model, example(8, *shape), names)
    change = "use every parameter in forward, and no detach(), no_grad() or .data; freeze what is fixed with requires_grad_(False)"
    for prefix, module in names.items():
        missing = [
            name for name, p in module.named_parameters() if p.requires_grad and f"{prefix}.{name}" not in reached
        ]
        if prefix == subject.kind:
            require(not missing, f"no gradient reaches {', '.join(missing)}", change)
        elif subject.kind == "decoder":
            require(not missing, "no gradient goes back through it to the codes", change)


def trains_in_channels_last(subject: Subject) -> None:
    """Images and weights may lie in the channels-last layout, the faster one for convolutions."""
    shape: tuple[int, ...] = COLOUR_SHAPE
    try:
        shape = COLOUR_SHAPE  # with one channel both layouts would be the same
        model = trainable(subject, shape)
    except Refused:
        shape = usual_shape(subject)
        model = trainable(subject, shape)
    if len(shape) != 3:
        raise NotApplicable("it takes no images, and the layout is one of images")
    model.to(memory_format=torch.channels_last)
    with training("training in the channels-last layout"):
        train(model, example(8, *shape).contiguous(memory_format=torch.channels_last))


def trains_in_bf16(subject: Subject) -> None:
    """The loss stays finite under bf16 autocast."""
    shape = usual_shape(subject)
    model = trainable(subject, shape)
    with training("training under bf16 autocast"):
        train(model, example(8, *shape), bf16=True)


def trains_on_one_image(subject: Subject) -> None:
    """A batch of one trains: the last batch of an epoch may be that small."""
    shape = usual_shape(subject)
    model = trainable(subject, shape)
    with training("training on a batch of one image"):
        train(model, example(1, *shape))


def survives_saving(subject: Subject) -> None:
    """A network that is trained or fitted, saved and loaded into a new module computes the same."""
    shape = usual_shape(subject)
    model = pair(subject, shape, seed=1)
    with training("training"):
        train(model, example(8, *shape))
    values = inputs(subject, shape, 4)
    check_state_file(network(subject, model), build(subject, shape, seed=2), lambda net: [net(values.clone())])


def fits_in_closed_form(subject: Subject) -> None:
    """A `fit` can read batches, and a fitted decoder has a smaller error than the mean image."""
    shape = usual_shape(subject)
    net = build(subject, shape)
    if not hasattr(net, "fit"):
        raise NotApplicable("it has no fit: it trains by gradient")
    code = inputs(subject, shape, 1) if subject.kind == "decoder" else example(*output_shape(subject, shape, 1))
    codes = example(75, code[0].numel())
    images = (codes @ example(code[0].numel(), prod(shape), seed=1)).unflatten(1, shape)
    codes = codes.unflatten(1, code.shape[1:])
    with torch.no_grad(), trying("fit", READ_IN_BATCHES):
        if subject.kind == "encoder":
            net.fit(Batches(images))
            features = require_tensor("the output after fit", net.eval()(images), (75, *code.shape[1:]))
            require((features.std(0) > 0).all(), "after fit a feature is the same for all images", NO_STATE)
        else:
            net.fit(codes, Batches(images))
            error = (net.eval()(codes) - images).square().mean() / images.var(0).mean()
            change = "`codes` come in the order of `images`: regress one on the other"
            require(error < 0.5, f"after fit the error is {error:.2f} of the images' variance", change)


def exports_to_onnx(subject: Subject) -> None:
    """As part of a model it becomes an ONNX graph with a dynamic batch that computes the same."""
    shape = usual_shape(subject)
    model = pair(subject, shape).requires_grad_(False)
    if subject.kind == "encoder":
        check_graphs(model, {"encode": example(ROWS, *shape)})
    else:
        check_graphs(model, {"decode": inputs(subject, shape, ROWS)}, images=True)


CHECKS: list[Callable[[Subject], None]] = [
    gives_the_right_shape,
    treats_samples_alone,
    leaves_its_input,
    follows_the_seed,
    passes_gradients,
    trains_in_channels_last,
    trains_in_bf16,
    trains_on_one_image,
    survives_saving,
    fits_in_closed_form,
    exports_to_onnx,
]
