"""What torch.onnx has to say when it cannot export a module: the cause beneath its own advice, and the place in the module."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

MOST = 300  # characters
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Advice and stacks of torch itself, which follow what it has to say.
_TAIL = re.compile(r"For more information|User [Ss]tack|Potential framework code|The following call raised|Caused by:")
_LIBRARIES = tuple(f"{Path(each).resolve()}{os.sep}" for each in (*torch.__path__, Path(__file__).parents[2]))


def exporter_cause(error: BaseException) -> str:
    """One line: what the innermost error says, and where in the user's module it arose, if that can be told."""
    chain = list(_chain(error))
    inner = chain[-1]
    text = " ".join(_TAIL.split(_COLOURS.sub("", str(inner)))[0].split())
    text = text if len(text) <= MOST else f"{text[: MOST - 1]}…"
    place = next((found for each in reversed(chain) if (found := _place(each))), "")
    return f"{type(inner).__name__}{f': {text}' if text else ''}{place}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on. What was merely being handled counts only for an error of the exporter."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        handled = each.__context__ if type(each).__module__.startswith("torch.onnx") else None
        each = each.__cause__ or handled


def _place(error: BaseException) -> str:
    """The innermost line of a module that is neither torch's nor ours."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file, owner = frame.f_code.co_filename, frame.f_locals.get("self")
        ours = file.startswith("<") or str(Path(file).resolve()).startswith(_LIBRARIES)
        if isinstance(owner, nn.Module) and not ours:
            return f", in {type(owner).__name__}.{frame.f_code.co_name} ({Path(file).name}, line {line})"
    return ""
