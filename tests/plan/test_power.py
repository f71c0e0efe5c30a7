"""Power by thresholds equals power by every table, and the rules are the gate's own."""

import itertools
from math import comb

import numpy as np
import pytest

from gate.behaviours.drift import measure_drift
from gate.plan.power import Setting, cells, lower_bound, power, prompts_needed, smallest_drift
from gate.policy.types import Behaviour, LexicalScorer, Prompt
from gate.statistics import Paired, paired_difference

SETTING = Setting(0.1, 0.95, 3)


def behaviour(direction):
    prompt = Prompt.model_validate("Hello?")
    scorer = LexicalScorer(kind="lexical", any_of=("x",))
    return Behaviour(id="b", title="B", regression=direction, tolerance=0.1, scorer=scorer, elicit=(prompt,))


def every_table(n):
    for both, lost, gained in itertools.product(range(n + 1), repeat=3):
        if both + lost + gained <= n:
            yield Paired(both, lost, gained, n - both - lost - gained)


def fires(table, rule, direction):
    before = [True] * (table.both + table.lost) + [False] * (table.gained + table.neither)
    after = [True] * table.both + [False] * table.lost + [True] * table.gained + [False] * table.neither
    drift = measure_drift(behaviour(direction), before, after, SETTING.confidence)
    if rule == "fail" or drift.clear:
        return drift.clear
    return min(1, SETTING.behaviours * drift.p_value) < 1 - SETTING.confidence and drift.regressing > 0.1 + 1e-9


def probability(table, chance):
    n, total = table.n, 1.0
    for count, share in zip(table, chance, strict=True):
        total *= comb(n, count) * share**count
        n -= count
    return total


@pytest.mark.parametrize("rule", ["fail", "warn"])
@pytest.mark.parametrize(("n", "base", "drift", "flip"), [(10, 0.3, 0.5, 0.05), (13, 0.0, 0.6, 0.02), (12, 0.5, 0.45, 0.1)])
def test_power_is_the_probability_of_all_tables_on_which_the_gate_fires(rule, n, base, drift, flip):
    up = cells(base, drift, flip)
    expected = sum(probability(table, up) for table in every_table(n) if fires(table, rule, "increase"))
    assert power(n, drift, SETTING, rule, base=base, flip=flip) == pytest.approx(expected, abs=1e-8)
    # a decrease from the opposite rate: gained and lost, both and neither trade places
    down = (up.neither, up.gained, up.lost, up.both)
    mirrored = sum(probability(table, down) for table in every_table(n) if fires(table, rule, "decrease"))
    assert mirrored == pytest.approx(expected, abs=1e-8)


def test_the_vectorised_bound_is_the_gates():
    for table in every_table(9):
        got = lower_bound(9, np.array([table.both]), table.lost, np.array([table.gained]), 0.95)[0]
        assert got == pytest.approx(paired_difference(table, 0.95).interval.low, abs=1e-12)


def test_no_drift_hardly_ever_fails_and_a_tolerable_one_rarely():
    assert power(48, 0.0, SETTING, "fail", base=0.2, flip=0.05) < 1e-4
    assert power(48, 0.1, SETTING, "fail", base=0.2, flip=0.05) < 0.025


def test_the_smallest_drift_has_the_power_and_a_thousandth_less_has_not():
    found = smallest_drift(30, SETTING, "fail", 0.8, (0.2,), 0.02)
    assert power(30, found, SETTING, "fail", base=0.2, flip=0.02) >= 0.8
    assert power(30, found - 0.001, SETTING, "fail", base=0.2, flip=0.02) < 0.8


def test_the_prompts_needed_suffice_and_grow_with_the_demand():
    counts = [prompts_needed(drift, SETTING, "fail", 0.8, (0.0, 0.5), 0.02) for drift in (0.5, 0.3, 0.2)]
    assert counts == sorted(counts)
    assert power(counts[1], 0.3, SETTING, "fail", base=0.5, flip=0.02) >= 0.8
    assert prompts_needed(0.101, SETTING, "fail", 0.8, (0.0,), 0.0) is None
    assert prompts_needed(0.6, SETTING, "fail", 0.8, (0.5,), 0.0) is None


def test_a_base_rate_without_room_is_left_out_and_few_prompts_find_nothing():
    assert smallest_drift(12, SETTING, "fail", 0.8, (0.0, 0.9), 0.0) == smallest_drift(12, SETTING, "fail", 0.8, (0.0,), 0.0)
    assert smallest_drift(2, SETTING, "fail", 0.8, (0.0,), 0.0) is None
    with pytest.raises(ValueError, match="no room"):
        power(10, 0.6, SETTING, "fail", base=0.5)
