"""Training in several processes at once: `torchrun --standalone --nproc-per-node N -m aepipe train …`.

Every process goes through the same seeded batches and computes its share of each; after every step all have the same
weights. Only the first process (rank 0) decides, writes files and prints. A single process is a team of one, for which nothing
here takes any time.

Each process draws its own random numbers while it trains (for the noise of a `vae`, for dropout). A batch norm sees only the
process's share of a batch, and the saved statistics are the first process's. Such models are similar for different N, but not
equal.
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
# The others wait so long for the first process, which may work alone for hours. If a process dies, they notice it without this.
TIMEOUT = timedelta(days=1)


class Team:
    """The processes that train together. Every method must be called by all of them, in the same order."""

    def __init__(self, rank: int = 0, size: int = 1, store: Any = None):
        self.rank, self.size, self.store = rank, size, store

    def share(self, count: int) -> slice:
        """This process's part of a batch of `count` rows. It may be empty, except in the first process."""
        return slice(*(math.ceil(count * rank / self.size) for rank in (self.rank, self.rank + 1)))

    def from_first(self, make: Callable[[], T]) -> T:
        """Call `make` in the first process only, and return its result in all. If `make` raises, all processes end."""
        if self.size == 1:
            return make()
        outcome: list[Any] = [None, None]  # the result, and the exit code if `make` raises
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
        """Add up the sums of all processes by name. A process that had no images may have no names; the first has all."""
        if self.size == 1:
            return sums
        import torch.distributed as dist

        parts: list[dict[str, float]] = [{} for _ in range(self.size)]
        with _connected():
            dist.all_gather_object(parts, sums)
        return {name: sum(part.get(name, 0.0) for part in parts) for name in parts[0]}

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter], weight: float) -> None:
        """Replace the gradients, which are means over this process's share, by the means over the whole batch.

        `weight` is the size of the share divided by the size of the batch: the new gradient is the sum of all processes'
        gradients, each multiplied by its weight. One buffer and one all_reduce per step do that.

        DistributedDataParallel would not do: it averages the shares as if they had equal sizes, and it waits for the backward
        pass of every process, which a process with an empty share does not make. Its advantage is that it communicates during
        the backward pass, which gains little for models of this size.
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
        # A parameter that no process has used must get no gradient, so that the optimiser leaves it alone, as in a single
        # process. `used` is read only if a gradient is missing here, because reading it waits for the GPU.
        keep = mine if all(mine) else used.tolist()
        for parameter, part, kept in zip(parameters, parts, keep, strict=True):
            # A gradient must have the memory layout of its parameter: the fused optimiser pairs them element by element.
            parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape)) if kept else None


ALONE = Team()
_team = ALONE
# This counts how often the process has joined a team. It is part of the store's keys, so that a second training in the same
# program does not find the keys of the first one.
_joined = 0


def team() -> Team:
    """The team of this process."""
    return _team


def together(function: Callable[P, T]) -> Callable[P, T]:
    """Let `function` run in a team if torchrun has started this process, and alone if not.

    If one process fails, all end with its exit code and one message: the process that fails first raises its error, and the
    others raise SystemExit.
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
                # A Ctrl-C arrives twice, from the terminal and from torchrun. The second must not interrupt what follows.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
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
            raise BadInput(message, f"start them with 'torchrun --nproc-per-node {count}', or use --device cpu")
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
    """Connect this process with the others that torchrun has started."""
    global _joined
    import torch
    import torch.distributed as dist

    # The optimiser would import this module later. If a process group exists by then, the module keeps it as the default
    # argument of its functions, and so beyond the end of the training.
    import torch.distributed.nn  # noqa: F401  (for its effect)

    _joined += 1
    store, rank, size = next(iter(dist.rendezvous("env://", timeout=TIMEOUT)))
    store = dist.PrefixStore(f"aepipe-{_joined}", store)
    # Python objects and tensors in main memory are sent by gloo, on machines with GPUs too.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    return Team(rank, size, store)


def _leave(failed: bool) -> None:
    """Disconnect from the others. After a failure this makes them fail too, if they are waiting for this process."""
    import torch
    import torch.distributed as dist

    if failed and torch.cuda.is_available():
        return  # NCCL would wait for unfinished operations; when this process ends, torchrun ends the others
    with contextlib.suppress(RuntimeError):
        dist.destroy_process_group()


def _first_to_end(team: Team, code: int) -> tuple[bool, int]:
    """Whether this process is the first to fail, which is the one that shows its error; and the exit code of the first."""
    try:
        said = team.store.compare_set("ended", "", f"{team.rank} {code}").decode()
    except RuntimeError:  # the process that kept the store has ended
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
    """Drop what Python prints on stderr in all processes but the first: it would be the same once more."""
    if first:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):  # noqa: PTH123
        yield
