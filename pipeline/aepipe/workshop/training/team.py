"""Training in several processes at once: `torchrun --standalone --nproc-per-node N -m aepipe train …`.

Every process goes through the same seeded batches and computes its share of each; after every step all have the same
weights. The first process (rank 0) alone decides, writes and speaks; a process without others is a team of one, for
which nothing here costs anything.

What a process draws at random while it trains (the noise of a `vae`, dropout) is its own, and a batch norm sees its share
of the batch and keeps the first process's statistics: such models come out alike, not equal, for different N.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from aepipe.errors import AepipeError, BadInput

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
P = ParamSpec("P")

SET_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# Must outlast whatever the first process does alone; that a process has died is noticed without it.
TIMEOUT = timedelta(days=1)


class Team:
    """The processes that train together. Every method must be called by all of them, in the same order."""

    def __init__(self, rank: int = 0, size: int = 1, store: Any = None):
        self.rank, self.size, self.store = rank, size, store

    def share(self, count: int) -> slice:
        """This process's part of a batch of `count`; it may be empty, the first process's never is."""
        return slice(*(math.ceil(count * rank / self.size) for rank in (self.rank, self.rank + 1)))

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, the only one that calls it. Where it raises, all processes end."""
        if self.size == 1:
            return make()
        outcome: list[Any] = [None, None]  # the result, or the exit code
        try:
            if self.rank == 0:
                outcome[0] = make()
        except BaseException as error:
            _first_to_end(self, exit_code(error))
            self._broadcast([None, exit_code(error)])
            raise
        result, code = self._broadcast(outcome)
        if code is not None:
            raise SystemExit(code)
        return result

    def _broadcast(self, values: list[Any]) -> list[Any]:
        import torch.distributed as dist

        with _connected():
            dist.broadcast_object_list(values, src=0)
        return values

    def total(self, sums: dict[str, float]) -> dict[str, float]:
        """The sums of all processes added up; one that had no images may know no names."""
        if self.size == 1:
            return sums
        import torch.distributed as dist

        parts: list[dict[str, float]] = [{} for _ in range(self.size)]
        with _connected():
            dist.all_gather_object(parts, sums)
        return {name: sum(part.get(name, 0.0) for part in parts) for name in parts[0]}

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter], weight: float) -> None:
        """Replace gradients by the mean over the whole batch, of which this process has computed the part `weight`.

        One buffer and one all_reduce a step, instead of DistributedDataParallel: that averages shares as if they were
        equally large, waits for a backward pass that an empty share does not have, and its gain, communication during
        that pass, is small for models of this size.
        """
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        mine = [each.grad is not None for each in parameters]
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        used = torch.tensor(mine, dtype=torch.float32, device=gradients[0].device)
        buffer = torch.cat([*(each.reshape(-1).float() for each in gradients), used]).mul_(weight)
        with _connected():
            dist.all_reduce(buffer)
        *parts, used = buffer.split([*(each.numel() for each in gradients), len(used)])
        # A parameter that no process has used keeps no gradient: the optimiser leaves it alone, as in a single process.
        # Only who lacks one asks, for a GPU has to be waited for.
        keep = mine if all(mine) else used.tolist()
        for parameter, part, kept in zip(parameters, parts, keep, strict=True):
            # In the layout of its parameter: the fused optimiser pairs them element by element in memory.
            parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape)) if kept else None


ALONE = Team()
_team = ALONE
_joined = 0  # how often: two trainings of one program must not find one another's keys in the store


def team() -> Team:
    """The processes that train with this one."""
    return _team


def together(function: Callable[P, T]) -> Callable[P, T]:
    """Have `function` run in a team where torchrun has started this process, and alone elsewhere.

    Where one process fails all end, with its exit code and one message: only the process that fails first raises its
    error, the others end by SystemExit.
    """

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        global _team
        started = all(name in os.environ for name in SET_BY_TORCHRUN) and int(os.environ["WORLD_SIZE"]) > 1
        if not started or _team is not ALONE:
            return function(*args, **kwargs)
        _team = _join()
        failed = True
        try:
            with _silent_unless(_team.rank == 0):
                result = function(*args, **kwargs)
            failed = False
            return result
        except SystemExit:
            raise
        except BaseException as error:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # torchrun passes on the Ctrl-C that the terminal sent
            first, code = _first_to_end(_team, exit_code(error))
            if not first:
                raise SystemExit(code) from None
            raise
        finally:
            _team = ALONE
            _leave(failed)

    return inner


def own_gpu() -> torch.device:
    """The GPU of this process, which becomes its current one. Raises BadInput where there are fewer GPUs than processes."""
    import torch

    if _team.size > 1:
        rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if rank >= count:
            message = f"process {rank + 1} of this machine has no GPU of its own: there are {count}"
            raise BadInput(message, f"use --nproc-per-node {count}, or --device cpu")
        torch.cuda.set_device(rank)
    return torch.device("cuda", torch.cuda.current_device())


def processes_here() -> int:
    """How many processes of the team share this machine's memory."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if _team.size > 1 else 1


def exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.exit_code if isinstance(error, AepipeError) else 1


def _join() -> Team:
    global _joined
    import torch
    import torch.distributed as dist
    import torch.distributed.nn  # imported later, by the optimiser, it would hold the group as a default argument

    _joined += 1
    store, rank, size = next(iter(dist.rendezvous("env://", timeout=TIMEOUT)))
    store = dist.PrefixStore(f"aepipe-{_joined}", store)
    # Objects and what lies in main memory go by gloo also where there are GPUs.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    return Team(rank, size, store)


def _leave(failed: bool) -> None:
    """Part from the others; after a failure this also tells those who wait for this process."""
    import torch
    import torch.distributed as dist

    if failed and torch.cuda.is_available():
        return  # NCCL would wait for what it has begun; the end of this process tells torchrun, which ends the others
    with contextlib.suppress(RuntimeError):
        dist.destroy_process_group()


def _first_to_end(team: Team, code: int) -> tuple[bool, int]:
    """Whether this process is the first to fail, so that its error is the one to show; and the exit code of the first."""
    try:
        said = team.store.compare_set("ended", "", f"{team.rank} {code}").decode()
    except RuntimeError:  # the store has ended with the process that kept it
        return False, code
    first, code_of_first = map(int, said.split())
    return first == team.rank, code_of_first


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        hint = "its own message or the kernel's log says why (memory?); go on with aepipe train --resume"
        raise AepipeError("another process of this training has ended", hint) from error


@contextlib.contextmanager
def _silent_unless(first: bool) -> Iterator[None]:
    """Python's messages of all processes but the first are dropped: they would say the same again."""
    if first:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # noqa: PTH123
        yield
