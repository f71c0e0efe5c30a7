"""Texts that a model could say to break a report, and a verdict whose every text field says them."""

from __future__ import annotations

from gate.schema import Record

HOSTILE = (
    "<script>document.title='PWNED'</script>",
    "</style><script>document.title='PWNED'</script>",
    "</title><img src=x onerror=\"document.title='PWNED'\">",
    "<svg onload=document.title='PWNED'>",
    "\"><script>document.title='PWNED'</script>",
    "' onmouseover='document.title=1' x='",
    "<iframe src=https://example.org></iframe>",
    "<a href=\"javascript:document.title='PWNED'\">x</a>",
    "<!-- --><![CDATA[ x ]]>",
    "]]>",
    "--> <b>",
    "&lt;script&gt; &amp;amp; &#x3c;",
    "{{ 7 * 7 }} {% for x in y %} ${7*7} #{7*7}",
    "<details open><summary>x",
    "</details></td></table></section>",
    "<base href=https://example.org/><meta http-equiv=refresh content=0>",
    "style=\"background:url(https://example.org/x)\"",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[H cleared",
    "\x9b31m C1 \x90 \x9d0;t\x9c",
    "\x00\x01\x02\x08\x0b\x0c\x0e\x1f\x7f",
    "bell\x07 back\x08\x08\x08space",
    "line\r\nbreaks\rand\u2028separators\u2029\x85\n\n# heading\n\n---\n",
    "\ufffe\uffff\ufdd0\U0001ffff",
    "\u202eright to left\u202c \u2066isolate\u2069 \u200f",
    "hid\u200bden\u2060 \ufeff soft\u00adhyphen",
    "tags \U000e0041\U000e0042\U000e007f",
    "private \ue000 \U000f0000",
    "[click](https://example.org) [ref]: https://example.org",
    "![img](https://example.org/x.png) <https://example.org> https://example.org www.example.org",
    "a | b | c \\| d \\\\| e",
    "| --- | --- |",
    "`code` ``more`` ```fence``` \\` ~~~",
    "**bold** _em_ ~~strike~~ # h1 > quote\n- item\n1. item",
    "@someone @org/team #123 org/repo#4 GH-5 user@example.org",
    "$x^2$ $$y$$ :smile: [^1] - [ ] todo",
    "::set-output name=x::y",
    "  ::error file=a::b",
    "##[error]x ##vso[task.setvariable variable=x]y ##teamcity[buildStop] ####[x",
    "::::add-mask::::x:::",
    "section_start:1:x\r\x1b[0Kx",
    "[[ATTACHMENT|/etc/passwd]] [[[ATTACHMENT|/etc/passwd]]]",
    "[red]rich markup[/red] [link=https://example.org]x[/link] :warning:",
    "%s %(name)s {0} {name} %n",
    "=cmd|'/c calc'!A1",
    "../../etc/passwd ; rm -rf ~ $(id) `id`",
    "A" * 5000,
    "wide 漢字" * 300,
    "zalgo " + "e\u0301\u0302\u0303\u0304" * 50,
    "",
    "   \t  ",
    "-",
    "+1",
)  # fmt: skip


def poison(record: Record, text: str, *, keep: bool = False) -> Record:
    """`record` with `text` in every field of type str, keys of dictionaries included; before the original with `keep`."""

    def replaced(value: str) -> str:
        return text + value if keep else text

    def walk(value: object, annotation: object) -> object:
        if isinstance(value, Record):
            return poison(value, text, keep=keep)
        if isinstance(value, tuple):
            inner = getattr(annotation, "__args__", (object,))[0]
            return tuple(walk(item, inner) for item in value)
        if isinstance(value, dict):
            return {replaced(key): item for key, item in value.items()}
        if isinstance(value, str) and annotation in (str, str | None):
            return replaced(value)
        return value

    fields = type(record).model_fields
    return type(record)(**{name: walk(getattr(record, name), field.annotation) for name, field in fields.items()})
