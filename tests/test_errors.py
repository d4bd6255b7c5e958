"""Errors and exit codes."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import aepipe
import pytest
from aepipe.errors import (
    AepipeError,
    BadInput,
    DensityRefused,
    ParityError,
    as_typed,
    command_line,
    in_python,
    without_options,
)


def test_errors_have_the_codes_of_the_command_line():
    assert (AepipeError("", "").exit_code, BadInput("", "").exit_code, ParityError("", "").exit_code) == (1, 2, 3)
    assert DensityRefused("", "").exit_code == 3


def test_a_message_is_short_whatever_it_quotes():
    error = BadInput(f"there is no file {'x' * 5000!r} here", "choose another")
    assert len(error.message) < 1100 and error.message.startswith("there is") and error.message.endswith("here")


@pytest.mark.parametrize(
    ("typed", "in_code"),
    [
        ("go on without it: --skip-bad", "go on without it: skip_bad=True"),
        ("give one size for all with --image-size", "give one size for all with image_size"),
        ("use --device cpu, or install a driver", "use device='cpu', or install a driver"),
        ("try a smaller --batch-size, or --provider cpu", "try a smaller batch_size, or provider='cpu'"),
        ("ask for --precision fp32,int8 --io uint8", "ask for precision='fp32,int8' io='uint8'"),
        ("give a folder as OUT, or --limit 1", "give a folder as OUT, or limit=1"),
        ("--epochs N trains it further", "epochs=N trains it further"),
        ("finish it with 'aepipe train --resume runs/a b'", "finish it with 'aepipe train --resume runs/a b'"),
        ("choose another folder with -o", "choose another folder with out"),
        ("write it with 'aepipe export RUN -o OUT'", "write it with 'aepipe export RUN -o OUT'"),
        ("pip install --upgrade torch", "pip install --upgrade torch"),
        ("nothing to change here", "nothing to change here"),
        ("say it: --layout NCL, or --range LO..HI", "say it: layout='NCL', or range='LO..HI'"),
        ("say which: --range 0..4095, or --range dtype", "say which: range='0..4095', or range='dtype'"),
        ("use --provider openvino:device=GPU", "use provider='openvino:device=GPU'"),
        ("", ""),
    ],
)
def test_a_hint_names_the_interface_in_use(typed: str, in_code: str):
    assert in_python(typed) == AepipeError("", typed).hint == in_code
    with command_line():
        assert BadInput("", typed).hint == typed
    assert BadInput("", typed).hint == in_code


def test_an_option_in_a_message_is_named_as_it_is_typed():
    assert as_typed("--split") == "split"
    with command_line():
        assert as_typed("--split") == "--split"


@pytest.mark.parametrize(
    ("hint", "left"),
    [
        ("repair it, or go on without it: --skip-bad", "repair it"),
        ("give --layout NCL; give floats, or bytes", "give floats, or bytes"),
        ("take --layout NCL", ""),
        ("give floats, or bytes", "give floats, or bytes"),
    ],
)
def test_a_hint_leaves_out_what_an_interface_does_not_have(hint: str, left: str):
    with pytest.raises(BadInput) as caught, without_options("skip-bad", "layout"):
        raise BadInput("", hint)
    assert caught.value.hint == left
    with pytest.raises(BadInput) as caught, command_line(), without_options("skip-bad", "layout"):
        raise BadInput("", hint)
    assert caught.value.hint == hint


SOURCE = Path(aepipe.__file__).parent
# Rooms that only the command line reaches, and texts that are no hints.
TYPED_ONLY = re.compile(
    r"/(cli|infer|benchmark|demo|explore|testing|template)/|/(doctor|pytest_plugin|triton|anomaly|report|scaffold)\.py"
)


def texts(path: Path) -> Iterator[str]:
    """Every text of a module that names an option, with X in the place of what is filled in; docstrings are none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
        id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
    }
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside | docstrings:
            text = node.value
        if re.search(r"--[a-z]", text) and not text.startswith("--aepipe"):
            yield text


def test_every_hint_that_python_can_meet_names_arguments_that_there_are():
    from aepipe.workshop.export.export import export_run
    from aepipe.workshop.export.formats import Formats
    from aepipe.workshop.training.recipe import Recipe

    calls = [aepipe.fit, aepipe.resume, aepipe.export_modules, aepipe.load, aepipe.Model, Recipe, Formats, export_run]
    calls += [method for name, method in vars(aepipe.Model).items() if callable(method) and not name.startswith("_")]
    known = {name for call in calls for name in inspect.signature(call).parameters}
    known |= {"density", "clip"}  # clip is an option of infer alone, as its two messages say
    found = 0
    for path in [*SOURCE.rglob("*.py"), *(SOURCE.parents[1] / "plugins/aepipe_builtins").glob("*.py")]:
        if TYPED_ONLY.search(path.as_posix()) or path.name in ("errors.py", "commands.py", "train_judge.py"):
            continue
        for text in texts(path):
            free = re.sub(
                r"'[^']*\s[^']*'|\b(?:aepipe|pip|nvidia-smi|tritonserver)\b.*", "", text
            )  # commands, which anyone can type
            named = re.findall(r"--([a-z][a-z-]*[a-z])", free)
            found += len(named)
            assert {name.replace("-", "_") for name in named} <= known, f"{path.name}: {text}"
            assert not re.search(r"--[a-z]", in_python(free)), text
    assert found > 25
