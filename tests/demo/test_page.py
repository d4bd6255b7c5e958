"""The page of the demo."""

from __future__ import annotations

from html.parser import HTMLParser

from aepipe.demo.page import write_page


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_escaped_and_needs_nothing_from_elsewhere(tmp_path):
    path = tmp_path / "index.html"
    write_page(
        path,
        title="A <b> & B",
        intro="One sentence.\n\nAnother <script>.",
        table=[{"model": "conv <i>", "MSE": 0.014123, "n": 12345}, {"model": "pca", "MSE": None, "n": 0}],
        figures=[{"heading": "Samples", "figures": [{"file": 'a "b" 1.png', "caption": 'the "first"'}] * 2}],
        commands=["# next", "aepipe infer sample X -o 'out.png' && ls <here>"],
        caption="Mean squared error",
    )
    text = path.read_text(encoding="utf-8")
    tags = Tags(text)
    assert not tags.open
    names = [tag for tag, _ in tags.seen]
    assert names.count("figure") == names.count("img") == 2 and names.count("p") == 2
    assert names.count("tr") == 3 and not {"script", "b", "i", "link"} & set(names)
    assert [values["src"] for tag, values in tags.seen if tag == "img"] == ["a%20%22b%22%201.png"] * 2
    assert all(values["alt"] == 'the "first"' for tag, values in tags.seen if tag == "img")
    assert "://" not in text and "@import" not in text and "url(" not in text
    assert "<td>0.01412</td><td>12,345</td>" in text and "<td>–</td><td>0</td>" in text
    assert "&lt;here&gt;" in text and "A &lt;b&gt; &amp; B" in text


def test_page_without_table_figures_or_commands(tmp_path):
    write_page(tmp_path / "index.html", title="T", intro="", table=[], figures=[], commands=[])
    assert not Tags((tmp_path / "index.html").read_text()).open
