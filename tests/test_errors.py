"""Errors and exit codes."""

from __future__ import annotations

import pytest
from aepipe.errors import AepipeError, BadInput, DensityRefused, ParityError, command_line, in_python


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
        ("", ""),
    ],
)
def test_a_hint_names_the_interface_in_use(typed: str, in_code: str):
    assert in_python(typed) == AepipeError("", typed).hint == in_code
    with command_line():
        assert BadInput("", typed).hint == typed
    assert BadInput("", typed).hint == in_code
