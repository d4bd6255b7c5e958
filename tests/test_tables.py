"""Tables of text."""

from __future__ import annotations

from aepipe.tables import print_table


def test_tables_wrap_on_a_terminal_and_nowhere_else(capsys, monkeypatch) -> None:
    words = "so many words that they do not fit into any terminal of a usual width " * 3
    print_table(["name", "text"], [["[batch, 1]", words.strip()], ["b", "short"]])
    head, rule, first, second = capsys.readouterr().out.splitlines()
    assert first == f"[batch, 1]  {words.strip()}" and second == "b           short"
    assert head == "name        text" and rule.startswith("----------  ----")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    print_table(["name", "text"], [["[batch, 1]", words.strip()], ["b", "short"]])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 6 and max(map(len, lines)) <= 60
    assert " ".join(line[12:] for line in lines[2:-1]) == words.strip()


def test_a_column_without_a_word_takes_no_room(capsys) -> None:
    print_table(["option", ""], [["levels", ""], ["scale", ""]])
    assert capsys.readouterr().out.splitlines() == ["option", "------", "levels", "scale"]
