"""Commands and programs that are run."""

from __future__ import annotations

import subprocess
import sys

from aepipe.cli import run

from tests.helpers.places import ROOT

# A program for `python`: a command line of aepipe, then the most memory that its process had, in KB.
PEAK = """
import sys
from aepipe.cli import run
code = run(sys.argv[1:])
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
sys.exit(code)
"""


def fails(capsys, *arguments: object, code: int = 2) -> str:
    """What `aepipe ARGUMENTS` says, which ends with `code`."""
    assert run([str(argument) for argument in arguments]) == code
    said = capsys.readouterr().err.strip()
    assert "Traceback" not in said
    return said


def refused(capsys, *arguments: object, code: int = 2) -> str:
    """As `fails`, with an error and its hint; a wrong use of an option has another form, which is click's."""
    said = fails(capsys, *arguments, code=code)
    assert "error: " in said and "hint: " in said
    return said


def refused_alone(capsys, *arguments: object, code: int = 2) -> str:
    """As `refused`, and the command says nothing else."""
    said = refused(capsys, *arguments, code=code)
    first, second = said.splitlines()
    assert first.startswith("error: ") and second.startswith("hint: ")
    return said


def python(code: str, *arguments: object, **options) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def program(name: str) -> list[str]:
    """The command line of a program of tests/programs; it runs in the folder ROOT."""
    assert (ROOT / "tests" / "programs" / f"{name}.py").exists()
    return ["-m", f"tests.programs.{name}"]
