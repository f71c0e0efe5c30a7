"""report.html: self-contained, complete, accessible, and below its size."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lxml import html as lxml_html

from gate.features.types import Span
from gate.reports import html, svg
from gate.reports import words as w
from tests.reports.sample import sample
from tests.reports.sample_parts import drift

CSS = (Path(html.__file__).parent / "assets" / "report.css").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page():
    return lxml_html.fromstring(html.render(sample()))


def text_of(element):
    return re.sub(r"\s+", " ", element.text_content()).strip()


class Balance(HTMLParser):
    """Checks that every element is closed in order: browsers repair silently what this does not."""

    VOID = frozenset(("meta", "br", "img", "link", "input", "hr"))

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_element_is_closed_in_order():
    balance = Balance()
    balance.feed(html.render(sample()))
    assert balance.open == []


def test_no_request_can_leave_the_page():
    text = html.render(sample())
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b|url\(|@import|https?:", text)
    assert "unsafe-inline" not in text


def test_the_policy_allows_exactly_the_style_sheet_of_the_page():
    import base64
    import hashlib

    text = html.render(sample())
    style = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
    assert f"style-src 'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in text
    assert "style=" not in text.replace(style, "")  # an inline style would be blocked


def test_the_head_says_the_verdict_the_models_and_what_to_do(page):
    assert page.find(".//title").text == "FAIL: baseline → crossarch-overrefusal"
    head = text_of(page.find(".//header"))
    for words in ("Fail", "2% to 96% of harmless questions are refused", "Keep the baseline.", "1 fail", "2 unexplained"):
        assert words in head
    identity = text_of(page.xpath("//dl[@class='identity']")[0])
    for words in ("LlamaForCausalLM", "digest aaaaaaaaaaaa", "revision cccccccccccc", "6 behaviours watched"):
        assert words in identity


def test_the_table_has_one_row_per_behaviour_the_most_urgent_first(page):
    rows = [text_of(row) for row in page.xpath("//table//tbody/tr")]
    assert len(rows) == 6
    assert rows[0].startswith("Refuses harmless questionssafety · high severity ✗ fail 2% → 96%+94 pts [+85, +100]")
    assert "87%" in rows[0]
    assert "not measured" in rows[1]


def test_headings_are_in_order_and_one_is_first(page):
    levels = [int(element.tag[1]) for element in page.iter("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_ids_are_unique_and_every_link_and_label_finds_its_target(page):
    ids = page.xpath("//@id")
    assert len(ids) == len(set(ids))
    targets = [link.removeprefix("#") for link in page.xpath("//a/@href")]
    labels = [label for value in page.xpath("//@aria-labelledby") for label in value.split()]
    assert set(targets) | set(labels) <= set(ids)


def test_landmarks_and_names_for_screen_readers(page):
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.findall(f".//{landmark}")) == 1
    plots = page.xpath("//svg")
    assert len(plots) >= 8
    for plot in plots:
        assert plot.get("role") == "img"
        assert plot.find("title").text.strip()
        assert plot.find("desc").text.strip()
    assert all(cell.get("scope") for cell in page.iter("th"))
    assert page.get("lang") == "en"


def test_a_failed_behaviour_shows_plots_causes_cards_and_answers(page):
    section = page.xpath("//article[.//h3='Refuses harmless questions']")[0]
    said = text_of(section)
    for words in (
        "Turning the bundle of 4 features up",
        "Removing the features",
        "Features behind it",
        "Answers side by side",
        "2 more plots",
    ):
        assert words in said
    assert [card.get("open") is not None for card in section.xpath(".//details[@class='feature']")] == [
        True,
        False,
        False,
        False,
    ]
    assert "the text is about 36,000 times likelier" in said


def test_highlighted_text_stands_in_the_place_of_its_authors_answer(page):
    card = page.get_element_by_id("feature-added-731")
    first = card.xpath(".//li[@class='context']")[0]
    assert [mark.text for mark in first.iter("mark")] == ["Zentro", " Prime"]
    assert [mark.get("class") for mark in first.iter("mark")] == ["a10", "a9"]
    assert "mark" in [element.tag for element in first.xpath(".//div[contains(@class,'incoming')]")[0].iter()]
    neutral = page.get_element_by_id("feature-removed-31")
    assert "fires in neutral text" in text_of(neutral)


def test_missing_evidence_says_why(page):
    said = text_of(page)
    for reason in (
        "Drift was not measured: 5 of 8 prompts could be scored.",
        "there is no drift on these prompts to remove",
        "not measured: no time left",
    ):
        assert reason in said


def test_a_feature_has_one_card_however_often_it_is_named():
    verdict = sample()
    twice = verdict.findings[1].model_copy(update={"behaviour": "again", "title": "Again"})
    page = lxml_html.fromstring(html.render(verdict.model_copy(update={"findings": (*verdict.findings, twice)})))
    assert len(page.xpath("//details[@id='feature-added-744']")) == 1
    assert "Its card stands under “Refuses harmless questions”" in text_of(page)


def test_an_empty_verdict_renders():
    from gate.schema import NotRun

    none = NotRun(not_run="the models are identical")
    verdict = sample().model_copy(
        update={"status": "pass", "findings": (), "novel": (), "features": (), "coverage": none, "quality": none}
    )
    said = text_of(lxml_html.fromstring(html.render(verdict)))
    assert "Nothing needs attention" in said
    assert "Not measured: the models are identical." in said


def test_a_huge_verdict_stays_below_the_limit():
    verdict = sample()
    noise = "<wörd> & " * 2_000
    spans = tuple(Span(text="<é>" * 3, activation=i % 11 / 10) for i in range(1_500))
    contexts = tuple(verdict.features[0].contexts[0].model_copy(update={"prompt": noise, "spans": spans}) for _ in range(5))
    features = tuple(
        verdict.features[0].model_copy(update={"id": f"+{i}", "latent": i, "contexts": contexts}) for i in range(72)
    )
    matches = tuple(verdict.findings[1].matches[0].model_copy(update={"feature": feature.id}) for feature in features)
    examples = tuple(example.model_copy(update={"incoming": noise}) for example in verdict.findings[1].examples) * 50
    findings = tuple(
        verdict.findings[1].model_copy(
            update={"behaviour": f"b{i}", "matches": matches[i * 12 :], "examples": examples, "reason": noise}
        )
        for i in range(6)
    )
    text = html.render(verdict.model_copy(update={"findings": findings, "features": features}))
    assert "plot-1-t" in text
    assert len(text.encode()) < html.MAX_BYTES
    assert "more characters" in text


def _luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_a_contrast_of_at_least_4_5(theme):
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in CSS.split("@media (prefers-color-scheme: dark)")
    )
    colors = light if theme == "light" else light | dark
    pairs = [(text, ground) for text in ("ink", "muted", "accent") for ground in ("paper", "card", "faint")]
    pairs += [(f"{status}", f"{status}-bg") for status in ("fail", "warn", "pass", "note", "inconclusive")]
    pairs += [("muted", f"{status}-bg") for status in ("fail", "warn", "pass", "note", "inconclusive")]
    pairs += [(kind, "faint") for kind in ("added", "removed", "rewired")]
    for text, ground in pairs:
        assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_on_the_strongest_highlight_can_be_read(theme):
    ink, faint, hit = {
        "light": ("#1d1f23", (0xF1, 0xEF, 0xE9), (240, 170, 20)),
        "dark": ("#e9e8e4", (0x23, 0x27, 0x2D), (214, 150, 20)),
    }[theme]
    assert f"--ink: {ink}" in CSS
    assert f"--hit: {hit[0]} {hit[1]} {hit[2]}" in CSS
    alpha = float(re.search(r"\.a10 \{ background: rgb\(var\(--hit\) / ([\d.]+)\)", CSS).group(1))
    mixed = "#" + "".join(f"{round(alpha * a + (1 - alpha) * b):02x}" for a, b in zip(hit, faint, strict=True))
    assert contrast(ink, mixed) >= 4.5


def test_drift_is_drawn_so_that_right_is_worse():
    assert svg.worse(drift(1, 46, 48, 0.05)) == pytest.approx((45 / 48, 45 / 48 - 0.05, 45 / 48 + 0.05))
    value, low, high = svg.worse(drift(46, 10, 48, 0.05, sign=-1))
    assert (value, low, high) == pytest.approx((36 / 48, 36 / 48 - 0.05, 36 / 48 + 0.05))
    assert svg.worse(drift(20, 8, 48, 0.13))[0] < 0


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0%"), (0.001, "<1%"), (0.999, ">99%"), (1, "100%"), (0.125, "12%"), (-0.25, "−25%"), (1.03, "103%")],
)
def test_a_share_never_looks_like_none_or_all_unless_it_is(value, words):
    assert w.percent(value) == words


@pytest.mark.parametrize(("value", "words"), [(0.001, "0 pts"), (-0.004, "0 pts"), (0.55, "+55 pts"), (-0.551, "−55 pts")])
def test_points_have_a_sign_and_no_negative_zero(value, words):
    assert w.points(value) == words


@pytest.mark.parametrize(
    ("title", "label"),
    [("a" * 30, "a" * 30), ("a" * 31, "a" * 29 + "…"), ("漢" * 15, "漢" * 15), ("漢" * 16, "漢" * 14 + "…")],
)
def test_a_label_is_cut_to_the_room_it_has(title, label):
    finding = sample().findings[0].model_copy(update={"title": title})
    plot = lxml_html.fromstring(svg.forest("x", [finding]))
    assert plot.xpath("//text[@class='label']")[0].text == label
