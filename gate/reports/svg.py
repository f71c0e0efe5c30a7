"""Plots as inline SVG: no script, no external reference, colours from the style sheet so that dark mode follows.

Every function returns a complete `<svg>` with `role="img"`, a title and a description. Coordinates are in SVG units; text is
escaped here, and callers mark the result as safe.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from html import escape

from gate.behaviours.types import Drift
from gate.probes.types import Curve, DosePoint, Mediation
from gate.reports import words as w
from gate.reports.escape import one_line
from gate.schema import NotRun
from gate.verdict.types import Finding


def _tag(name: str, attributes: dict[str, str | float], *children: str) -> str:
    """One element. Keys use `_` for `-`; numbers get one decimal."""
    written = "".join(
        f' {key.replace("_", "-")}="{escape(value) if isinstance(value, str) else _number(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(x: float, y: float, content: str, css: str = "tick", anchor: str = "start") -> str:
    return _tag("text", {"x": x, "y": y, "class": css, "text_anchor": anchor}, escape(content))


def _label(text: str, cells: int) -> str:
    """`text` cut to a width of `cells` Latin letters; East Asian letters count twice."""
    shown, width = one_line(text, 400), 0
    for index, char in enumerate(shown):
        width += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if width > cells:
            return shown[: max(0, index - 1)] + "…"
    return shown


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return _tag("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": css})


def _frame(ident: str, width: float, height: float, title: str, description: str, body: Sequence[str]) -> str:
    """The outer element. `ident` must be unique on the page: screen readers find title and description by it."""
    attributes: dict[str, str | float] = {
        "viewBox": f"0 0 {_number(width)} {_number(height)}",
        "width": width,
        "height": height,
        "role": "img",
        "aria_labelledby": f"{ident}-t {ident}-d",
        "class": "plot",
    }
    head = (_tag("title", {"id": f"{ident}-t"}, escape(title)), _tag("desc", {"id": f"{ident}-d"}, escape(description) or " "))
    return _tag("svg", attributes, *head, *body)


# --- drift ------------------------------------------------------------------------------------------------------------


def worse(drift: Drift) -> tuple[float, float, float]:
    """Drift and its interval on an axis where positive is worse: (value, low, high)."""
    low, high = drift.interval.low, drift.interval.high
    if drift.regressing * drift.value < 0:
        low, high = -high, -low
    return drift.regressing, low, high


def forest(ident: str, findings: Sequence[Finding], *, narrow: bool = False) -> str:
    """Each behaviour's drift with its interval against its tolerance; right of its tolerance mark is worse than allowed.

    `narrow` puts the labels above the rows, for phones.
    """
    width, gutter, row, right = (350.0, 20.0, 46.0, 20.0) if narrow else (860.0, 220.0, 34.0, 150.0)
    drawn = [(finding, finding.drift) for finding in findings]
    reach = max([0.2] + [abs(v) for _, d in drawn if not isinstance(d, NotRun) for v in (*worse(d), d.tolerance)])
    reach = min(1.0, reach * 1.05)
    top, plot = 40.0, width - gutter - right
    height = top + row * len(drawn) + 30

    def x(value: float) -> float:
        return gutter + plot * (max(-reach, min(reach, value)) + reach) / (2 * reach)

    body = [
        _text(x(0) + 8, 14, "worse →", "axis"),
        _text(x(0) - 8, 14, "← better", "axis", "end"),
        *_ticks(x, reach, top, height - 26),
        _line(x(0), top - 6, x(0), height - 26, "zero"),
    ]
    for index, (finding, drift) in enumerate(drawn):
        body += _forest_row(finding, drift, x, top + row * index, row, gutter, width, narrow)
    described = "; ".join(
        f"{one_line(f.title, 80)}: {'not measured' if isinstance(d, NotRun) else w.shift(d)}" for f, d in drawn
    )
    return _frame(ident, width, height, "Drift of each behaviour with its interval, against its tolerance", described, body)


def _ticks(x: Callable[[float], float], reach: float, top: float, bottom: float) -> list[str]:
    step = 0.5 if reach > 0.6 else 0.2 if reach > 0.3 else 0.1
    parts = []
    for index in range(-int(reach / step), int(reach / step) + 1):
        value = index * step
        parts.append(_line(x(value), top - 6, x(value), bottom, "grid"))
        parts.append(_text(x(value), bottom + 16, w.signed(100 * value), "tick", "middle"))
    return parts


def _forest_row(
    finding: Finding, drift: Drift | NotRun, x: Callable[[float], float], y: float, row: float, gutter: float, width: float,
    narrow: bool,
) -> list[str]:  # fmt: skip
    label = _label(finding.title, 38 if narrow else 30)
    middle = y + (row * 0.72 if narrow else row / 2)
    parts = [_text(2, y + 14, label, "label")] if narrow else [_text(gutter - 14, middle + 4, label, "label", "end")]
    figures_y = y + 14 if narrow else middle + 4
    if isinstance(drift, NotRun):
        return [
            *parts,
            _text(width - 2 if narrow else width - 138, figures_y, "not measured", "tick", "end" if narrow else "start"),
        ]
    value, low, high = worse(drift)
    css = f"s-{finding.status}"
    diamond = " ".join(f"{_number(x(value) + dx)},{_number(middle + dy)}" for dx, dy in ((-6, 0), (0, -6), (6, 0), (0, 6)))
    parts += [
        _line(x(drift.tolerance), middle - 11, x(drift.tolerance), middle + 11, "tolerance"),
        _line(x(low), middle, x(high), middle, f"whisker {css}"),
        _line(x(low), middle - 4, x(low), middle + 4, f"whisker {css}"),
        _line(x(high), middle - 4, x(high), middle + 4, f"whisker {css}"),
        _tag("polygon", {"points": diamond, "class": f"dot {css}"}),
    ]
    if narrow:
        return [*parts, _text(width - 2, figures_y, w.change(drift), "tick", "end")]
    return [*parts, _text(width - 138, figures_y, w.shift(drift), "tick")]


def rates(ident: str, drift: Drift) -> str:
    """Both models' rates with their intervals, 0 to 100%."""
    width, left, right = 350.0, 96.0, 48.0
    span = width - left - right

    def x(share: float) -> float:
        return left + span * max(0.0, min(1.0, share))

    body = []
    for share in (0.0, 0.5, 1.0):
        body += [_line(x(share), 6, x(share), 64, "grid"), _text(x(share), 82, w.percent(share), "tick", "middle")]
    for index, (label, rate, css) in enumerate((("baseline", drift.baseline, "other"), ("incoming", drift.incoming, "accent"))):
        y = 20.0 + 28 * index
        body += [
            _text(left - 10, y + 4, label, "label", "end"),
            _line(x(rate.interval.low), y, x(rate.interval.high), y, f"whisker {css}"),
            _tag("circle", {"cx": x(rate.value), "cy": y, "r": 5, "class": f"dot {css}"}),
            _text(left + span + 8, y + 4, w.percent(rate.value), "tick"),
        ]
    described = "; ".join(
        f"{label} {w.percent(rate.value)}, {rate.hits} of {rate.n}, interval {w.percent_range(rate.interval)}"
        for label, rate in (("baseline", drift.baseline), ("incoming", drift.incoming))
    )
    return _frame(ident, width, 90, "Rate in both models", described, body)


# --- dose-response ----------------------------------------------------------------------------------------------------


def dose_response(ident: str, curve: Curve, title: str) -> str:
    """The target's rate over doses against the band of the control directions; crossed-out doses do not count."""
    width, height, left, right, top, bottom = 350.0, 214.0, 40.0, 14.0, 12.0, 36.0
    points = sorted(curve.points, key=lambda point: point.dose)
    first, last = (points[0].dose, points[-1].dose) if points else (0.0, 1.0)
    extent = (last - first) or 1.0

    def x(dose: float) -> float:
        return left + (width - left - right) * (dose - first) / extent

    def y(rate: float) -> float:
        return top + (height - top - bottom) * (1 - max(0.0, min(1.0, rate)))

    body = []
    for rate in (0.0, 0.5, 1.0):
        body.append(_line(left, y(rate), width - right, y(rate), "grid"))
        body.append(_text(left - 6, y(rate) + 4, w.percent(rate), "tick", "end"))
    body += [
        _text(x(dose), height - bottom + 16, w.dose_words(dose), "tick", "middle") for dose in _spaced([p.dose for p in points])
    ]
    body.append(_text((left + width - right) / 2, height - 4, "dose", "axis", "middle"))
    body += _control_band(points, x, y)
    body += _target(points, x, y)
    described = "; ".join(
        f"dose {p.dose:g}: {w.percent(p.rate.value)}" + (f", controls {_spread(p)}" if p.controls else "")
        + ("" if p.eligible else ", not fluent enough to count")
        for p in points
    )  # fmt: skip
    return _frame(ident, width, height, title, described, body)


def _spread(point: DosePoint) -> str:
    return f"{w.percent(min(point.controls))} to {w.percent(max(point.controls))}"


def _spaced(doses: list[float]) -> list[float]:
    """At most seven tick marks, the ends and zero among them when there are more doses."""
    if len(doses) <= 7:
        return doses
    return sorted({doses[0], doses[-1], doses[len(doses) // 2], *(dose for dose in doses if dose == 0)})


def _control_band(points: list[DosePoint], x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    shown = [point for point in points if point.controls]
    if not shown:
        return []
    upper = [f"{_number(x(p.dose))},{_number(y(max(p.controls)))}" for p in shown]
    lower = [f"{_number(x(p.dose))},{_number(y(min(p.controls)))}" for p in reversed(shown)]
    parts = [_tag("polygon", {"points": " ".join(upper + lower), "class": "band"})]
    for point in shown:
        dots = sorted(set(point.controls))
        parts += [_tag("circle", {"cx": x(point.dose), "cy": y(rate), "r": 1.6, "class": "control"}) for rate in dots]
    return parts


def _target(points: list[DosePoint], x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    path = " ".join(f"{_number(x(p.dose))},{_number(y(p.rate.value))}" for p in points)
    parts = [_tag("polyline", {"points": path, "class": "faded"})]
    eligible = " ".join(f"{_number(x(p.dose))},{_number(y(p.rate.value))}" for p in points if p.eligible)
    parts.append(_tag("polyline", {"points": eligible, "class": "target"}))
    for point in points:
        px, py = x(point.dose), y(point.rate.value)
        if point.eligible:
            parts.append(_line(px, y(point.rate.interval.low), px, y(point.rate.interval.high), "error"))
            parts.append(_tag("circle", {"cx": px, "cy": py, "r": 4, "class": "point"}))
        else:
            parts += [_line(px - 4, py - 4, px + 4, py + 4, "crossed"), _line(px - 4, py + 4, px + 4, py - 4, "crossed")]
    return parts


# --- mediation --------------------------------------------------------------------------------------------------------


def mediation(ident: str, result: Mediation) -> str:
    """Rate before and after removing the features, the other model's rate, and the share removed against the controls'."""
    width, left, right = 350.0, 96.0, 48.0
    span = width - left - right
    bars = (
        ("before", result.before.value, "bar"),
        ("after", result.after.value, "bar after"),
        ("other model", result.reference, "bar other"),
    )
    body = []
    for index, (label, rate, css) in enumerate(bars):
        y = 8.0 + 26 * index
        body += [
            _text(left - 10, y + 13, label, "label", "end"),
            _tag("rect", {"x": left, "y": y, "width": span, "height": 17, "class": "track"}),
            _tag("rect", {"x": left, "y": y, "width": max(1.0, span * max(0.0, min(1.0, rate))), "height": 17, "class": css}),
            _text(left + span + 8, y + 13, w.percent(rate), "tick"),
        ]
    body += _removed(result, left, span, 112.0)
    controls = f"; controls {w.percent(min(result.controls))} to {w.percent(max(result.controls))}" if result.controls else ""
    described = (
        f"Before {w.percent(result.before.value)}, after {w.percent(result.after.value)}, the other model "
        f"{w.percent(result.reference)}. Removed {w.mediation_short(result)}{controls}."
    )
    return _frame(ident, width, 160, "Rate before and after removing the features", described, body)


def _removed(result: Mediation, left: float, span: float, y: float) -> list[str]:
    """The share removed with its interval on an axis from -50% to 150%, above the marks of the control subspaces."""

    def x(share: float) -> float:
        return left + span * (max(-0.5, min(1.5, share)) + 0.5) / 2

    parts = [_text(left - 10, y + 4, "removed", "label", "end")]
    for share in (0.0, 0.5, 1.0):
        parts += [
            _line(x(share), y - 14, x(share), y + 24, "grid"),
            _text(x(share), y + 40, w.percent(share), "tick", "middle"),
        ]
    parts += [_line(x(share), y + 12, x(share), y + 22, "controlmark") for share in result.controls]
    if result.controls:
        parts.append(_text(left - 10, y + 21, "controls", "label", "end"))
    parts += [
        _line(x(result.interval.low), y, x(result.interval.high), y, "whisker accent"),
        _tag("circle", {"cx": x(result.removed), "cy": y, "r": 5, "class": "point"}),
        _text(left + span + 8, y + 4, w.percent(result.removed), "tick"),
    ]
    return parts
