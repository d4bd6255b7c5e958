"""The training loop. It can be killed at any moment and then resumes exactly. Its methods stand in the order of their calls.

All random numbers of an epoch follow from the seed and the number of the epoch, so a checkpoint needs no generator states.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from aepipe import plugins
from aepipe.errors import AepipeError, BadInput, foreign
from aepipe.files.staged import replacing
from aepipe.images.corruption import corruption
from aepipe.plugins.reports import EpochReport, RunReport
from aepipe.progress import progress

from .average import Average
from .device import fast_layout
from .finish import finish, validation_error
from .heap import kept_heap
from .model import fit_closed_forms, load_state, load_tensors, save_tensors, selected_by
from .optimiser import DEFAULT, PREFIX, make_optimiser, parameters_of, restore_state, set_rate, state_of
from .players import backward, shares_of, without_loss
from .recipe import Recipe, learning_rate
from .run import RunFolder, record_of
from .team import team
from .training_data import TrainingData

STEPS_BETWEEN_CHECKS = 50
DAMAGED = "its last.safetensors is damaged; train the run again"

R = TypeVar("R", bound=RunFolder)  # `train` returns the run that it was given, which may be of a subclass


@dataclass
class State:
    """How far training has come; a checkpoint holds this beside its tensors."""

    epoch: int = 0
    stopped: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)


def train(run: R, data: TrainingData, recipe: Recipe, show: bool) -> R:
    """Train from the run's last checkpoint to the end of the recipe, then compute codes, metrics and densities."""
    devices = [data.device] if data.device.type == "cuda" else []
    fast_convolutions = torch.backends.cudnn.flags(enabled=True, benchmark=True)
    with torch.random.fork_rng(devices=devices), fast_convolutions, kept_heap():
        return Training(run, data, recipe, show).go()


class Training(Generic[R]):
    """One call of `train`: the model, its optimiser and how far they have come."""

    def __init__(self, run: R, data: TrainingData, recipe: Recipe, show: bool):
        self.run, self.data, self.recipe, self.show = run, data, recipe, show
        self.team = team()
        record = run.config["components"]["corruption"]
        self.corrupt = corruption(record, bounded=data.bounded) if record else None
        torch.manual_seed(recipe.seed)
        self.optimiser: torch.optim.Optimizer | None = None
        self.average: Average | None = None
        self.saveable = False  # whether the optimiser's state was seen to be
        self.state = State()
        self.saved: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        path = run.directory / "last.safetensors"
        checkpoint = self.team.from_first(lambda: load_tensors(path) if path.exists() else None)
        self.model = run.new_model(rebuild=checkpoint is not None).to(data.device)
        if checkpoint:
            self._restore(*checkpoint)

    def go(self) -> R:
        """Train, finish the run, return it."""
        self.team.from_first(self._started)
        if self.state.epoch == 0 and self.team.rank == 0:
            fit_closed_forms(self.model, self.data.standardised(self.data.train))
        elif hasattr(self.model.encoder, "fit"):
            self._freeze_fitted()
        if self.team.size > 1:
            self._begin_alike()
        if any(parameter.requires_grad for parameter in self.model.parameters()):
            self._prepare()
            self._epochs()
        elif self.state.epoch == 0:
            self._end_epoch({"epoch": 1})
        return self.team.from_first(self._finish)

    def _finish(self) -> R:
        finish(self.run, self.data, self.corrupt)
        plugins.registry().call("run_finished", self._report())
        return self.run

    def _started(self) -> None:
        plugins.registry().call("run_started", self._report())

    def _report(self) -> RunReport:
        return RunReport(self.run.directory, copy.deepcopy(self.run.config), copy.deepcopy(self.state.history))

    def _begin_alike(self) -> None:
        """Give all processes the weights of the first: only it fits closed forms, and a network may ignore the seed."""
        weights = self.team.from_first(lambda: {key: value.cpu() for key, value in self.model.state_dict().items()})
        load_state(self.model, weights, f"the model of {self.run.directory}")

    def _freeze_fitted(self) -> None:
        self.model.encoder.requires_grad_(False)
        if hasattr(self.model.decoder, "fit"):
            self.model.decoder.requires_grad_(False)

    def _prepare(self) -> None:
        """Make the optimiser and the average, and restore both where the run goes on."""
        rows = self.data.train[:2]
        example, labels = next(self.data.batches(rows, 2)), next(self.data.labels_of(rows, 2))
        self.model.to(memory_format=fast_layout(self.model, example, labels))
        trained = [(name, each) for name, each in self.model.named_parameters() if each.requires_grad]
        self.optimiser = make_optimiser(self._optimiser_record, trained, self.recipe.lr)
        self.trained = parameters_of(self.optimiser)
        self.shares = shares_of(self.model.objective, self.trained)
        if self.recipe.ema:
            self.average = Average(self.model, self.recipe.ema)
        if self.saved:
            with foreign(f"the optimiser of {self.run.directory} cannot be restored", DAMAGED, kind=BadInput):
                self._restore_optimiser(*self.saved)

    def _epochs(self) -> None:
        images = len(self.data.train) * self.data.augment.draws
        with progress("training", self.recipe.epochs * images, show=self.show) as advance:
            advance(self.state.epoch * images)
            while self.state.epoch < self.recipe.epochs and not self.state.stopped:
                self._end_epoch(self._epoch(self.state.epoch + 1, advance))

    def _epoch(self, epoch: int, advance: Callable[..., None]) -> dict[str, Any]:
        """One pass over the training images; returns the epoch's row of metrics.jsonl."""
        seed, size = self.recipe.seed, self.recipe.batch_size
        rows = self.data.order([seed, epoch])
        steps = math.ceil(len(rows) / size)
        # The cosine has the length of the recipe that the run began with, even if a resumed run shall end earlier.
        whole = self.run.config["recipe"]["epochs"] * steps
        torch.manual_seed(seed * 1_000_003 + epoch + (self.team.rank << 40))  # noise differs between processes
        self.model.train()
        sums: dict[str, Tensor] = {}
        done, started, lr = 0, time.monotonic(), 0.0
        pairs = self.data.pairs(rows, size, self.corrupt, [seed, epoch], self.team, augmented=True)
        batches = zip(pairs, self.data.labels_of(rows, size, self.team), strict=True)
        for step, ((images, target), labels) in enumerate(batches):
            lr = learning_rate(self.recipe, (epoch - 1) * steps + step, whole)
            count = min(size, len(rows) - done)  # images in the whole batch; `images` may be this process's share
            for name, value in self._step(images, target, labels, lr, len(images) / count).items():
                sums[name] = sums.get(name, 0) + value.detach() * len(images)
            if self.average:
                self.average.update((epoch - 1) * steps + step)
            done += count
            if step % STEPS_BETWEEN_CHECKS == STEPS_BETWEEN_CHECKS - 1 or done == len(rows):
                totals = self.team.total({name: float(total) for name, total in sums.items()})
                self._check_finite(sum(totals[name] for name in self.shares), epoch)
                speed = done / (time.monotonic() - started)
                advance(0, self._note(epoch, totals["loss"] / done, speed))
            advance(count)
        means = {name: total / done for name, total in totals.items()}
        return {"epoch": epoch, **means, "lr": lr, "images_per_second": round(done / (time.monotonic() - started))}

    def _step(
        self, images: Tensor, target: Tensor, labels: Tensor | None, lr: float, weight: float
    ) -> dict[str, Tensor]:
        """One step. `images` are the share `weight` of the whole batch, and may be empty."""
        assert self.optimiser is not None
        set_rate(self.optimiser, lr)
        self.optimiser.zero_grad(set_to_none=True)
        losses: dict[str, Tensor] = {}
        if len(images):
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
                losses = self.model.losses(images, target, labels)
            self._check_players(losses)
            backward(losses, self.shares)
        self.team.average_gradients(self.trained, weight)
        if self.recipe.clip:
            for share in self.shares.values():  # an adversary whose gradient is large must not slow the others down
                nn.utils.clip_grad_norm_(share, self.recipe.clip)
        self.optimiser.step()
        if not self.saveable:
            self._optimiser_state()  # what cannot be saved is refused now, and not after the first epoch
            self.saveable = True
        return losses

    def _check_players(self, losses: dict[str, Tensor]) -> None:
        for name in without_loss(self.shares, losses):
            component = plugins.choose("objective", self.run.config["components"]["objective"]).component
            message = f"{component} has a player {name!r}, and its losses have no {name!r}"
            raise AepipeError(message, component.report)

    def _end_epoch(self, row: dict[str, Any]) -> None:
        self.state = self.team.from_first(lambda: self._record(row))

    def _record(self, row: dict[str, Any]) -> State:
        """Validate, keep the best weights, write the metrics, call the hooks, and last write the checkpoint.

        After a kill at any point of this, the resumed run repeats the epoch and so completes what is missing.
        """
        bf16 = self.recipe.precision == "bf16"
        with self._averaged():
            row["validation_mse"] = validation_error(self.model, self.data, self.corrupt, self.recipe.seed, bf16)
            selects = selected_by(self.model.objective, row)
            self._check_selects(selects, row)
            for key in ("validation_mse", selects):
                if not math.isfinite(row[key]):
                    self._check_finite(row[key], row["epoch"])
            best = min((earlier[selects] for earlier in self.state.history), default=math.inf)
            if row[selects] <= best:  # where reconstruction cannot change, the rest has learned longer
                save_tensors(self.run.directory / "best.safetensors", self.model.state_dict(), {"epoch": row["epoch"]})
        self.state.history.append(row)
        self.state.epoch = row["epoch"]
        with replacing(self.run.directory / "metrics.jsonl") as file:
            file.write_text("".join(json.dumps(row) + "\n" for row in self.state.history), encoding="utf-8")
        kept = self.state.history, self.recipe.patience, copy.deepcopy(self.run.config)
        report = EpochReport(row["epoch"], row, self.run.directory, *kept, selects=selects)
        plugins.registry().call("epoch_finished", report)
        self.state.stopped = report.stop
        self._save()
        return self.state

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """A block in which the model has the weights that count: the average of all, where there is one."""
        if self.average is None:
            yield
        else:
            with self.average.in_place():
                yield

    def _check_selects(self, selects: str, row: dict[str, Any]) -> None:
        """Raise AepipeError where the metric that picks the best epoch is none of those that there are."""
        if isinstance(row.get(selects), int | float):
            return
        component = plugins.choose("objective", self.run.config["components"]["objective"]).component
        known = ", ".join(name for name in row if name not in ("epoch", "lr", "images_per_second"))
        message = f"{component} picks the best epoch by {selects!r}, and an epoch has: {known}"
        raise AepipeError(message, component.report)

    def _save(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        notes = asdict(self.state)
        if self.optimiser is not None:
            held, notes["optimiser"] = self._optimiser_state()
            tensors |= held
        if self.average is not None:
            tensors |= self.average.state()
        save_tensors(self.run.directory / "last.safetensors", tensors, notes)

    @property
    def _optimiser_record(self) -> Any:
        return self.run.config["components"].get("optimiser") or DEFAULT

    def _optimiser_state(self) -> tuple[dict[str, Tensor], Any]:
        assert self.optimiser is not None
        try:
            return state_of(self.optimiser)
        except TypeError as error:
            component = plugins.choose("optimiser", self._optimiser_record).component
            message = f"{component} keeps {error} in its state, which cannot be saved, so that no run could go on"
            raise AepipeError(message, component.report) from error

    def _restore(self, tensors: dict[str, Tensor], notes: dict[str, Any]) -> None:
        weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        self.run.fill(self.model, weights)
        self.state = record_of(self.run.directory / "last.safetensors", State, notes)
        self.saved = tensors, notes
        if self.state.epoch == self.run.config.get("extended_at"):
            self.state.stopped = False

    def _restore_optimiser(self, tensors: dict[str, Tensor], notes: dict[str, Any]) -> None:
        assert self.optimiser is not None
        held = {name: value for name, value in tensors.items() if name.startswith(f"{PREFIX}.")}
        if held or "optimiser" in notes:
            restore_state(self.optimiser, held, notes.get("optimiser"))
        if self.average is not None:
            self.average.restore(tensors)

    def _check_finite(self, total: float, epoch: int) -> None:
        if math.isfinite(total):
            return
        last, folder = self.state.epoch, self.run.directory
        hint = "train again with a smaller --lr, or --precision fp32"
        if last:
            hint += f"; {folder} keeps epoch {last}, end there with 'aepipe train --resume {folder} --epochs {last}'"
        raise AepipeError(f"the loss became {total} in epoch {epoch}", hint)

    def _note(self, epoch: int, loss: float, speed: float) -> str:
        history = self.state.history
        error = f" · validation MSE {history[-1]['validation_mse']:.5f}" if history else ""
        return f"epoch {epoch}/{self.recipe.epochs} · loss {loss:.2f}{error} · {speed:,.0f} images/s"
