"""Checks of objectives. Only the kit imports this file, so it may import torch."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from aepipe.images.labels import UNKNOWN
from aepipe.plugins.calling import call, takes
from aepipe.plugins.kinds import CLASSES, LATENTS
from aepipe.workshop.training.model import load_state
from aepipe.workshop.training.players import backward, players_of, shares_of, without_loss

from .exporting import ROWS, check_graphs
from .modules import (
    USE_SEED,
    check_rows,
    check_state_file,
    check_untouched,
    make_module,
    require_equal,
    require_same_state,
    require_tensor,
    seeded,
    train_steps,
    training,
)
from .pairs import example
from .report import Finding, NotApplicable, Refused, Subject, require, trying

SHAPES = ((1, 6, 6), (3, 4, 7))
STEPS = 3
ONLY_KNOWN = "leave out what is unknown: known = labels >= 0; sums over none are 0, means are not"


class Decoder(nn.Sequential):
    """A linear decoder that notes the codes it is called with."""

    def __init__(self, latent: int, shape: tuple[int, int, int]):
        super().__init__(nn.Linear(latent, prod(shape)), nn.Unflatten(1, shape))
        self.calls: list[tuple[int, ...]] = []

    def forward(self, codes: Tensor) -> Tensor:
        self.calls.append(tuple(codes.shape))
        return super().forward(codes)


def build(subject: Subject, seed: int = 0) -> tuple[Any, int]:
    """The objective and a latent size that it accepts."""
    for latent in LATENTS:
        try:
            return make_module(subject, latent, seed=seed), latent
        except Refused as refusal:
            last = refusal
    raise last


def features_for(objective: Any, latent: int, count: int, seed: int = 0) -> Tensor:
    per = getattr(objective, "features_per_latent", 1)
    return example(count, latent * (per if isinstance(per, int) and per > 0 else 1), seed=seed)


def says_how_many_features(subject: Subject) -> None:
    """`features_per_latent` is a whole number of at least one."""
    objective, _ = build(subject)
    change = (
        "set features_per_latent = 1 (or more) on the module: the encoder is built with latent times as many features"
    )
    require(hasattr(objective, "features_per_latent"), "features_per_latent is missing", change)
    per = objective.features_per_latent
    whole = isinstance(per, Integral) and not isinstance(per, bool) and int(per) >= 1
    require(whole, f"features_per_latent is {per!r}", change)


def gives_codes(subject: Subject) -> None:
    """`code` turns features [N, latent * features_per_latent] into codes [N, latent], without randomness, each row alone."""
    objective, latent = build(subject)
    objective.eval()
    with torch.no_grad():
        for count in (1, 5):
            features = features_for(objective, latent, count)
            code = require_tensor(f"code of {list(features.shape)}", objective.code(features), (count, latent))
            require_equal(
                code,
                objective.code(features),
                "code gives something else each time",
                "code is deterministic: no noise in it",
            )
        check_untouched("code", objective.code, features_for(objective, latent, 5))
    check_rows("code", objective.code, features_for(objective, latent, 4))


def losses_of(objective: Any, features: Tensor, decoder: Decoder, target: Tensor, known: bool = True) -> Any:
    """`losses` called as aepipe calls it: with what it names. Unless classes are `known`, no label is."""
    count, shape = len(target), tuple(target.shape[1:])
    labels = torch.arange(count) % CLASSES
    labels[0 if known and count > 1 else slice(0, 0 if known else None)] = UNKNOWN
    matrix = example(prod(shape), features.shape[1], seed=5) / prod(shape)
    also = {
        "labels": labels,
        "images": example(count, *shape, seed=4),
        "encode": lambda images: objective.code(images.flatten(1) @ matrix.to(images.dtype)),
        "mean": torch.tensor(0.4),
        "std": torch.tensor(0.3),
        "shape": shape,
    }
    return call(objective.losses, {"features": features, "decode": decoder, "target": target}, also=also)


def bears_unknown_labels(subject: Subject) -> None:
    """A batch in which no label is known, all are -1, gives a finite loss."""
    objective, latent = build(subject)
    if not takes(objective.losses, "labels"):
        raise NotApplicable("it learns from no labels")
    features, decoder = features_for(objective, latent, 4), Decoder(latent, SHAPES[0])
    with seeded(0), trying("a batch without known labels", ONLY_KNOWN):
        losses = losses_of(objective, features, decoder, example(4, *SHAPES[0]), known=False)
    for name, value in losses.items():
        require(
            torch.isfinite(value).all(), f"losses[{name!r}] is {value} for a batch without known labels", ONLY_KNOWN
        )


def selects_a_metric(subject: Subject) -> None:
    """`selects`, where there is one, is one of its losses or validation_mse."""
    objective, latent = build(subject)
    selects = getattr(objective, "selects", None)
    if selects is None:
        raise NotApplicable("it leaves the choice of the best epoch to validation_mse")
    features = features_for(objective, latent, 4)
    losses = losses_of(objective, features, Decoder(latent, SHAPES[0]), example(4, *SHAPES[0]))
    known = [*losses, "validation_mse"]
    require(selects in known, f"selects is {selects!r}", f"name one of its metrics: {', '.join(known)}")


def gives_outputs(subject: Subject) -> None:
    """`outputs`, name to size, is what `output` gives of codes: float32 [N, size] by name, which becomes a graph."""
    objective, latent = build(subject)
    sizes = getattr(objective, "outputs", None)
    if not sizes:
        raise NotApplicable("it has no outputs")
    codes = objective.code(features_for(objective, latent, 5)).detach()
    change = "output(codes) gives a dict with a tensor [N, size] for each entry of outputs"
    with torch.no_grad(), trying("output", change):
        made = objective.eval().output(codes)
    require(isinstance(made, dict) and set(made) == set(sizes), f"output gives {made!r:.60}", change)
    for name, size in sizes.items():
        require_tensor(f"output {name!r}", made[name], (5, size))


def loss_of(objective: Any, features: Tensor, decoder: Decoder, target: Tensor) -> Tensor:
    """The loss under a seed; if there is none, the check `gives_losses` reports it."""
    with seeded(0):
        losses = losses_of(objective, features, decoder, target)
    if not (isinstance(losses, dict) and isinstance(losses.get("loss"), Tensor)):
        raise NotApplicable("it has no loss: see gives_losses")
    return losses["loss"]


def gives_losses(subject: Subject) -> None:
    """`losses` gives a dict of finite scalars with "loss", whose gradient reaches the features, for any target shape."""
    objective, latent = build(subject)
    for shape in SHAPES:
        for count in (1, 5):
            features = features_for(objective, latent, count).requires_grad_()
            with seeded(0):
                losses = losses_of(objective, features, Decoder(latent, shape), example(count, *shape))
            require(
                isinstance(losses, dict) and "loss" in losses, "losses gives no 'loss'", 'return {"loss": scalar, …}'
            )
            for name, value in losses.items():
                scalar = isinstance(value, Tensor) and value.ndim == 0 and bool(torch.isfinite(value))
                change = "every entry is a finite tensor without dimensions, averaged over the batch"
                require(scalar, f"losses[{name!r}] is {value!r:.80} for {count} images of {list(shape)}", change)
            require(losses["loss"].requires_grad, "the loss has no gradient", "no detach() and no no_grad() on its way")
            losses["loss"].backward()
            reached = features.grad is not None and bool(features.grad.any())
            require(
                reached,
                "no gradient of the loss reaches the features",
                "the loss must depend on what the encoder gives",
            )


def uses_decode(subject: Subject) -> None:
    """`losses` calls `decode` with codes [n, latent], and its parameters get a gradient."""
    objective, latent = build(subject)
    decoder = Decoder(latent, SHAPES[0])
    features = features_for(objective, latent, 5).requires_grad_()
    loss = loss_of(objective, features, decoder, example(5, *SHAPES[0]))
    require(decoder.calls, "losses never calls decode", "decode the codes and compare them with target")
    for shape in decoder.calls:
        right = len(shape) == 2 and shape[1] == latent
        require(right, f"decode is called with {list(shape)}", f"it takes codes [n, {latent}]")
    if loss.requires_grad:
        loss.backward()
    missing = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    require(
        not missing,
        f"no gradient reaches the decoder's {', '.join(missing)}",
        "no detach() and no no_grad() around decode",
    )


def uses_target(subject: Subject) -> None:
    """A target equal to the decoder's output has a smaller loss than a target far from it."""
    objective, latent = build(subject)
    features, decoder = features_for(objective, latent, 5), Decoder(latent, SHAPES[0])
    with torch.no_grad():
        near = decoder(objective.code(features))
        close, far = (float(loss_of(objective, features, decoder, target)) for target in (near, near + 10))
    require(
        close < far,
        f"the loss is {close:.4g} for a target like the reconstruction and {far:.4g} for one far from it",
        "compare decode(…) with target: the loss must rise with their distance",
    )


def leaves_its_input(subject: Subject) -> None:
    """`losses` changes neither features nor target."""
    objective, latent = build(subject)
    decoder, target = Decoder(latent, SHAPES[0]), example(5, *SHAPES[0])
    features = features_for(objective, latent, 5)
    with torch.no_grad():
        check_untouched("losses", lambda values: loss_of(objective, values, decoder, target.clone()), features)
        check_untouched("losses", lambda values: loss_of(objective, features.clone(), decoder, values), target)


def leaves_parameters_alone(subject: Subject) -> None:
    """`losses` neither changes a parameter nor calls backward: training does both, and saves what it keeps for that."""
    objective, latent = build(subject)
    # Of another seed than the losses are drawn with: noise that equals the features would hide what an adversary learns.
    features, decoder = features_for(objective, latent, 5, seed=3).requires_grad_(), Decoder(latent, SHAPES[0])
    parameters = [
        *objective.named_parameters(),
        *((f"decode.{name}", each) for name, each in decoder.named_parameters()),
    ]
    before = [each.detach().clone() for _, each in parameters]
    objective.train()
    loss_of(objective, features, decoder, example(5, *SHAPES[0]))
    change = "no optimiser and no backward() in losses: name an adversary in `players` and give its loss by its name"
    for (name, each), earlier in zip(parameters, before, strict=True):
        require(torch.equal(each, earlier), f"losses changes the parameter {name}", change)
        require(each.grad is None, f"losses leaves a gradient in {name}", change)


def has_losses_for_its_players(subject: Subject) -> None:
    """Each of `players` is a sub-module with parameters of its own, and `losses` gives a loss of its name."""
    objective, latent = build(subject)
    if not hasattr(objective, "players"):
        raise NotApplicable("it has no players")
    try:
        players = players_of(objective)
    except ValueError as error:
        raise Finding(str(error), 'set players = ("critic",) for a sub-module self.critic') from error
    owned = [id(each) for part in players.values() for each in part.parameters()]
    require(len(owned) == len(set(owned)), "two players share parameters", "give each player its own")
    features, decoder = features_for(objective, latent, 5).requires_grad_(), Decoder(latent, SHAPES[0])
    with seeded(0):
        losses = objective.losses(features, decoder, example(5, *SHAPES[0]))
    missing = without_loss(players, losses)
    change = 'return {"loss": …, "critic": …}: what trains the player stands under its name'
    require(not missing, f"losses gives no {', '.join(map(repr, missing))}", change)


def follows_the_seed(subject: Subject) -> None:
    """The same seed gives the same weights and, also in training, the same loss."""
    (first, latent), (second, _) = build(subject, seed=1), build(subject, seed=1)
    require_same_state(first, second)
    features, target, decoder = features_for(first, latent, 5), example(5, *SHAPES[0]), Decoder(latent, SHAPES[0])
    with torch.no_grad():
        once, twice = (loss_of(each, features, decoder, target.clone()) for each in (first, second))
    require_equal(once, twice, "under one seed the loss is not the same twice", USE_SEED)


def passes_gradients(subject: Subject) -> None:
    """The gradient reaches every parameter of the objective itself."""
    objective, latent = build(subject)
    reached = _train(objective, latent)
    missing = [
        name for name, p in objective.named_parameters() if p.requires_grad and f"objective.{name}" not in reached
    ]
    require(
        not missing,
        f"no gradient reaches {', '.join(missing)}",
        "use it in losses, or freeze it with requires_grad_(False)",
    )


def trains_in_bf16(subject: Subject) -> None:
    """The loss stays finite under bf16 autocast, where features and images are bfloat16."""
    objective, latent = build(subject)
    with training("losses under bf16 autocast"):
        _train(objective, latent, bf16=True)


def survives_saving(subject: Subject) -> None:
    """An objective that is trained, saved and loaded computes the same."""
    objective, latent = build(subject, seed=1)
    _train(objective, latent)
    features, target, decoder = features_for(objective, latent, 5), example(5, *SHAPES[0]), Decoder(latent, SHAPES[0])
    check_state_file(
        objective,
        build(subject, seed=2)[0],
        lambda each: [each.code(features), loss_of(each, features, decoder, target.clone())],
    )


class _Training:
    """An objective between an encoder and a decoder, trained step by step."""

    def __init__(self, objective: Any, latent: int):
        features, self.target = features_for(objective, latent, 8), example(8, *SHAPES[0])
        self.images = features
        with seeded(0):
            parts = {"encoder": nn.Linear(features.shape[1], features.shape[1]), "decoder": Decoder(latent, SHAPES[0])}
        self.net = nn.ModuleDict({"objective": objective, **parts}).train()
        parameters = [each for each in self.net.parameters() if each.requires_grad]
        self.optimiser = torch.optim.Adam(parameters, lr=1e-2)
        self.shares = shares_of(objective, parameters)

    def steps(self, first: int, count: int) -> None:
        for step in range(first, first + count):
            self.optimiser.zero_grad(set_to_none=True)
            with seeded(step):
                features = self.net["encoder"](self.images)
                backward(self.net["objective"].losses(features, self.net["decoder"], self.target.clone()), self.shares)
            self.optimiser.step()

    def continued(self, objective: Any, latent: int) -> _Training:
        """The same training with a new objective that has this one's saved state."""
        load_state(objective, self.net["objective"].state_dict(), "the objective")
        other = _Training(objective, latent)
        for part in ("encoder", "decoder"):
            other.net[part].load_state_dict(self.net[part].state_dict())
        other.optimiser.load_state_dict(self.optimiser.state_dict())
        return other


def goes_on_exactly(subject: Subject) -> None:
    """Saved and loaded in the middle of a training it goes on as if nothing had happened, bit for bit."""
    (whole, latent), (first, _) = build(subject, seed=1), build(subject, seed=1)
    try:
        undisturbed, stopped = _Training(whole, latent), _Training(first, latent)
        undisturbed.steps(0, 2 * STEPS)
        stopped.steps(0, STEPS)
        again = stopped.continued(build(subject, seed=2)[0], latent)
        again.steps(STEPS, STEPS)
    except Exception as error:
        raise NotApplicable("it cannot be trained, saved or loaded: see the other checks") from error
    ours, theirs = again.net.state_dict(), undisturbed.net.state_dict()
    differ = [name for name in theirs if name not in ours or not torch.equal(ours[name], theirs[name])]
    change = (
        "keep whatever later steps depend on in parameters and buffers (counters too), and have no optimiser of its own"
    )
    require(
        not differ, f"saved and loaded in the middle of a training, it ends elsewhere: {', '.join(differ[:3])}", change
    )


def exports_to_onnx(subject: Subject) -> None:
    """`code` becomes an ONNX graph with a dynamic batch that computes the same."""
    objective, latent = build(subject)
    check_graphs(objective.requires_grad_(False), {"code": features_for(objective, latent, ROWS)})
    for name in getattr(objective, "outputs", None) or {}:
        codes = objective.code(features_for(objective, latent, ROWS))
        check_graphs(_Output(objective, name), {"forward": codes})


class _Output(nn.Module):
    """One output of an objective."""

    def __init__(self, objective: Any, name: str):
        super().__init__()
        self.objective, self.name = objective, name

    def forward(self, codes: Tensor) -> Tensor:
        return self.objective.output(codes)[self.name]


def _train(objective: Any, latent: int, bf16: bool = False) -> set[str]:
    features, target = features_for(objective, latent, 8), example(8, *SHAPES[0])
    encoder, decoder = nn.Linear(features.shape[1], features.shape[1]), Decoder(latent, SHAPES[0])

    def losses() -> dict[str, Any]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return losses_of(objective, encoder(features), decoder, target)

    objective.train()
    loss_of(objective, encoder(features), decoder, target)
    with seeded(0):
        modules = {"objective": objective, "encoder": encoder, "decoder": decoder}
        parameters = [p for module in modules.values() for p in module.parameters() if p.requires_grad]
        try:
            shares = shares_of(objective, parameters)
        except ValueError as error:
            raise NotApplicable("see has_losses_for_its_players") from error
        if without_loss(shares, losses()):
            raise NotApplicable("see has_losses_for_its_players")
        return train_steps(losses, parameters, modules, shares=shares)


CHECKS: list[Callable[[Subject], None]] = [
    says_how_many_features,
    gives_codes,
    gives_losses,
    uses_decode,
    uses_target,
    leaves_its_input,
    leaves_parameters_alone,
    has_losses_for_its_players,
    follows_the_seed,
    passes_gradients,
    trains_in_bf16,
    bears_unknown_labels,
    selects_a_metric,
    gives_outputs,
    survives_saving,
    goes_on_exactly,
    exports_to_onnx,
]
