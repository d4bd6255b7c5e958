"""The campaign in short: hostile inputs of every kind and a few kills, none of which may do more than be refused."""

from __future__ import annotations

import sys

import pytest

from tests.adversary.campaign import try_inputs, try_kills

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="needs select on pipes and SIGKILL")]


def test_hostile_inputs_are_used_or_refused() -> None:
    table, findings = try_inputs(140)
    assert not findings
    assert all(counts["refused"] for counts in table.values())


def test_a_kill_loses_nothing() -> None:
    assert not try_kills(3)[1]
