"""Errors and exit codes."""

from __future__ import annotations

from aepipe.errors import AepipeError, BadInput, ParityError


def test_errors_have_the_codes_of_the_command_line():
    assert (AepipeError("", "").exit_code, BadInput("", "").exit_code, ParityError("", "").exit_code) == (1, 2, 3)
