"""Settings of the process that hold while images are decoded, so that decoders say nothing: `decoding.py` says what matters."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache

from PIL import Image

_lock = threading.Lock()
_inside = 0
_restore = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """A block that decodes, in any threads: Pillow and its libraries print nothing, and leave the bound of sizes to
    `check_image`.

    The settings stand again as they were when the last such block has ended.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _silence(_restore)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _restore.close()


def _silence(restore: ExitStack) -> None:
    restore.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    Image.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
    restore.callback(_remove, warnings.filters[0])
    handler = logging.NullHandler()  # without any handler Python prints what Pillow logs
    logging.getLogger("PIL").addHandler(handler)
    restore.callback(logging.getLogger("PIL").removeHandler, handler)
    for set_handler in _handlers_of_libtiff():
        restore.callback(set_handler, set_handler(None))


def _remove(entry: object) -> None:
    with suppress(ValueError):
        warnings.filters.remove(entry)  # type: ignore[attr-defined]


@cache
def _handlers_of_libtiff() -> tuple[Callable[[int | None], int | None], ...]:
    """Functions that set libtiff's handlers of warnings and of errors and return the former ones. Its own handlers print to
    stderr what a file holds, unescaped.

    Empty where Pillow has no libtiff, or has it inside and out of reach, as on Windows.
    """
    try:
        library = ctypes.CDLL(Image.core.__file__)  # it is loaded: this finds what it is linked with
        setters = library.TIFFSetWarningHandler, library.TIFFSetErrorHandler
    except (AttributeError, OSError):
        return ()
    for each in setters:
        each.argtypes, each.restype = [ctypes.c_void_p], ctypes.c_void_p
    return setters
