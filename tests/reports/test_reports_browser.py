"""report.html in a real browser: nothing runs, nothing overflows on a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile

import pytest

from gate.reports import html
from tests.reports.hostile import HOSTILE, poison
from tests.reports.sample import sample

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None
)

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")]

MEASURE = """
<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *:not(svg *)")].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width > 1 && getComputedStyle(e).clipPath === "none" && box.right > innerWidth + 1;
  });
  parent.postMessage({
    scroll: document.documentElement.scrollWidth, inner: innerWidth,
    wide: wide.slice(0, 5).map(e => e.tagName + "." + e.getAttribute("class")),
    headings: [...document.querySelectorAll("h1, h2")].map(e => e.textContent.trim()),
    color: getComputedStyle(document.querySelector("h1")).color, title: document.title,
  }, "*");
});
</script>
"""


def dump(path):
    """The page after load. The profile lies outside pytest's folders: Chromium's helpers may still write to it for a moment."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    flags += ["--disable-sync", "--no-first-run", "--virtual-time-budget=4000", "--window-size=1000,900"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}"]
        command = [CHROMIUM, *flags, "--dump-dom", path.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def measured(text, tmp_path, width):
    """The layout of `text` in a frame `width` wide, measured by a script added in place of the page's own policy."""
    bare = re.sub(r"<meta http-equiv=\"Content-Security-Policy\".*?>", "", text)
    (tmp_path / "page.html").write_text(
        bare.replace("<details", "<details open").replace("</body>", f"{MEASURE}</body>"), encoding="utf-8"
    )
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<body><pre id=result></pre><script>addEventListener('message', e => "
        "document.getElementById('result').textContent = JSON.stringify(e.data))</script>"
        f"<iframe src=page.html style='width:{width}px;height:800px;border:0'></iframe>",
        encoding="utf-8",
    )
    from html import unescape

    found = re.search(r"<pre id=\"result\">(.*?)</pre>", dump(frame), re.S)
    return json.loads(unescape(found.group(1)))


@pytest.mark.parametrize("hostile", [False, True], ids=["plain", "hostile"])
def test_a_phone_needs_no_sideways_scrolling_and_no_script_runs(tmp_path, hostile):
    """Without the page's content security policy: escaping alone must hold."""
    verdict = poison(sample(), " ".join(HOSTILE), keep=True) if hostile else sample()
    result = measured(html.render(verdict), tmp_path, 390)
    assert result["inner"] == 390
    assert result["wide"] == []
    assert result["scroll"] <= 390
    assert result["headings"][1:3] == ["Findings", "How far each behaviour moved"]
    assert result["title"].startswith("FAIL: ")
    assert result["color"] == "rgb(176, 36, 28)"


def test_the_page_as_written_keeps_its_style_under_its_policy_and_blocks_scripts(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(
        html.render(sample()).replace("</body>", "<script>document.title = 'PWNED'</script></body>"), encoding="utf-8"
    )
    dom = dump(path)
    assert "<title>FAIL: baseline" in dom
    assert "PWNED</title>" not in dom
