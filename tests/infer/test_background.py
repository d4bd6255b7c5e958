"""Writing in the background."""

from __future__ import annotations

import errno
import signal
import threading
import time

import numpy as np
import pytest
from aepipe.infer.writers import Background, FolderWriter

from tests.helpers.commands import python
from tests.helpers.folders import listing

# writing in the background


class Stop(Exception):
    pass


class Slow:
    def __init__(self, fail_at: int = -1):
        self.seen: list[int] = []
        self.fail_at = fail_at
        self.gate = threading.Event()

    def write(self, number: int, extra: str = "") -> None:
        self.gate.wait(10)
        if number == self.fail_at:
            raise OSError(errno.ENOSPC, "full")
        self.seen.append(number)


def test_background_keeps_the_order_and_bounds_the_queue():
    writer = Slow()
    with Background(writer) as background:
        for number in range(3):  # one in the thread, two queued
            background.put(number, "x")
        blocked = threading.Thread(target=background.put, args=(3,))
        blocked.start()
        blocked.join(0.2)
        assert blocked.is_alive() and writer.seen == []
        writer.gate.set()
        blocked.join(10)
    assert writer.seen == [0, 1, 2, 3]


def test_background_raises_at_the_next_put_or_at_close():
    writer = Slow(fail_at=1)
    writer.gate.set()
    background = Background(writer)
    with pytest.raises(OSError, match="full"):
        for number in range(1000):
            background.put(number)
            time.sleep(0.001)
    with pytest.raises(OSError, match="full"):
        background.close()
    assert writer.seen == [0]

    late = Slow(fail_at=0)
    late.gate.set()
    with pytest.raises(OSError, match="full"), Background(late) as background:
        background.put(0)
    with Background(Slow()) as background:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        background.put(0)


def test_background_drops_the_queue_when_the_computing_fails():
    writer = Slow()
    with pytest.raises(Stop), Background(writer) as background:
        for number in range(3):
            background.put(number)
        threading.Timer(0.1, writer.gate.set).start()
        raise Stop
    assert writer.seen in ([], [0]) and not background._thread.is_alive()


def test_background_into_a_folder(tmp_path):
    images = np.random.default_rng(0).random((50, 1, 4, 4), dtype=np.float32)
    with FolderWriter(tmp_path / "out", lambda index: f"{index:03d}.png") as writer, Background(writer) as background:
        for start in range(0, 50, 8):
            indices = range(start, min(start + 8, 50))
            background.put(indices, images[start : start + 8])
    assert listing(tmp_path / "out") == [f"{index:03d}.png" for index in range(50)]


INTERRUPTED = """
import random, signal
import numpy as np
from aepipe.images.batches import prefetch
from aepipe.infer.writers import Background

class Stop(Exception):
    pass

class Writer:
    def write(self, value):
        pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGALRM, stop)
random.seed(0)
count = 0
for _ in range(400):
    try:
        with Background(Writer()) as writer:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 3e-3))
            for each in prefetch(iter(lambda: 1, None)):
                writer.put(each)
    except Stop:
        count += 1
print(count)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends signals")
def test_a_signal_at_any_moment_hangs_nothing() -> None:
    done = python(INTERRUPTED, timeout=60)
    assert done.stdout == "400\n", done.stderr[-1000:]
