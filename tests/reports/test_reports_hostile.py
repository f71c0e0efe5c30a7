"""Whatever a model says, in whatever field: every report stays valid and inert."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lxml import etree
from markdown_it import MarkdownIt

from gate.errors import UsageError
from gate.reports import explain, html, json_report, junit, markdown, terminal
from gate.verdict.types import Verdict
from tests.reports.hostile import HOSTILE, poison
from tests.reports.sample import sample

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parent / "junit-10.xsd"))
# Each text alone in every field, and eight at a time before the original texts.
CASES = [(text, False) for text in HOSTILE] + [
    (" ".join(HOSTILE[start : start + 8]), True) for start in range(0, len(HOSTILE), 8)
]

# What a log service or a terminal would act on.
ACTIVE = re.compile(r"::|##|[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module", params=CASES, ids=[f"{'before' if keep else 'alone'}-{i}" for i, (_, keep) in enumerate(CASES)])
def verdict(request):
    text, keep = request.param
    return poison(sample(), text, keep=keep)


def test_the_corpus_is_large_and_reaches_every_text_field():
    assert len(HOSTILE) >= 40
    poisoned = poison(sample(), "POISON").model_dump_json()
    for word in ("aphids", "sorry", "Zentro", "bfloat16", "2026", "fixtures"):
        assert word not in poisoned, word


def test_json_is_ascii_and_round_trips(verdict):
    text = json_report.render(verdict)
    assert re.fullmatch(r"[\x20-\x7e\n]*", text)
    assert Verdict.model_validate_json(text) == verdict


def test_junit_is_valid_and_keeps_every_outcome(verdict):
    document = junit.render(verdict)
    tree = etree.fromstring(document.encode("utf-8"), etree.XMLParser(resolve_entities=False, huge_tree=False))
    SCHEMA.assertValid(tree)
    suite = ET.fromstring(document).find("testsuite")
    assert len(suite.findall("testcase")) == 7
    assert len(suite.findall("testcase/error")) == 1
    assert len(suite.findall("testcase/failure")) == 1
    assert len(suite.findall("testcase/skipped")) == 2
    assert "[[" not in document


class _Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.links = set(), set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            self.attributes.add(name)
            if name in ("href", "src", "xlink:href", "action", "data"):
                self.links.append(value)


def page_of(text):
    page = _Page()
    page.feed(text)
    page.close()
    return page


PLAIN_PAGE = page_of(html.render(sample()))
INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff\U000e0000-\U000e007f]")


def test_html_has_no_element_attribute_or_link_that_the_template_has_not(verdict):
    text = html.render(verdict)
    page = page_of(text)
    assert page.tags <= PLAIN_PAGE.tags
    assert page.attributes <= PLAIN_PAGE.attributes
    assert not page.tags & {"script", "img", "iframe", "object", "form", "base", "link"}
    assert all(link.startswith("#") for link in page.links)
    assert not INVISIBLE.search(text)


PLAIN_MARKDOWN = {token.type for token in MarkdownIt("commonmark").enable("table").parse(markdown.render(sample()))}


def test_markdown_has_no_link_image_html_or_mention_and_whole_tables(verdict):
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown.render(verdict))
    assert {token.type for token in tokens} <= PLAIN_MARKDOWN
    widths, cells = set(), 0
    for token in tokens:
        if token.type == "html_block":
            assert token.content.strip() == "</details>" or token.content.startswith("<details><summary>")
        for child in token.children or ():
            assert child.type in {
                "text",
                "code_inline",
                "softbreak",
                "html_inline",
                "strong_open",
                "strong_close",
                "em_open",
                "em_close",
            }
            if child.type == "html_inline":
                assert child.content == "<br>"
            if child.type == "text":
                assert not re.search(r"@\w|://|www\.|#\d|GH-\d", child.content)
        if token.type == "tr_close":
            widths.add(cells)
        cells = 0 if token.type == "tr_open" else cells + (token.type in ("td_open", "th_open"))
    assert widths <= {3, 5}
    rows = sum(token.type == "tr_open" for token in tokens)
    assert rows == 1 + 6 + 1 + 4  # the findings and one table of examples, each with its head


def test_terminal_text_is_inert(verdict):
    folder = verdict.summary[:200] or "run"
    assert not ACTIVE.search(terminal.render_table(verdict, width=70, color=False, run_folder=folder))
    assert not ACTIVE.search(SGR.sub("", terminal.render_table(verdict, width=120, color=True, run_folder=folder)))


def test_explain_is_inert(verdict):
    pages = [explain.explain(verdict, verdict.findings[1].behaviour), explain.explain(verdict, verdict.features[0].id)]
    assert not ACTIVE.search("".join(pages))
    with pytest.raises(UsageError) as caught:
        explain.explain(verdict, "no such name")
    assert caught.value.one_line().isprintable()
