"""The words of a report about effects: which way they go, which are the largest, and which of them are shown."""
import json

import pytest
from support.findings import found_of, row

from reporting.answer import answer, verdicts
from reporting.content import Ranking
from reporting.effects import largest
from reporting.rows import differences, metrics_of, said


def effect(value, reach=0.01, survives=True):
    return {"difference": value, "low": value - reach, "high": value + reach, "p_value": 0.001 if survives else 0.5, "survives": survives}


def compared(number, quant, value, **more):
    nll = effect(value, **more)
    return row(number, "yarn ×8", quant) | {"paired": {"nll": nll, "perplexity_ratio": {"value": 2.718281828**value}}}


def ranking(found):
    (made,) = (part for part in answer(found).parts if isinstance(part, Ranking))
    return made


def test_a_loss_above_that_of_full_precision_costs_and_one_below_it_saves(tmp_path):
    rows = [compared(1, "rtn W4 g64", 0.0312), compared(2, "awq W4 g64", -0.2541), compared(3, "hqq W4 g64", 0.0021, survives=False)]
    made = ranking(found_of(rows, tmp_path, quant=rows))
    sentences = [[str(part) for part in sentence] for sentence in made.sentences]
    assert [sentence[0].split()[-1] for sentence in sentences] == ["saves", "costs", "costs"]  # the largest first, whatever its sign
    assert [sentence[1] for sentence in sentences] == ["0.2541 nats per token", "0.0312 nats per token", "0.0021 nats per token"]
    assert "95 % interval of the difference -0.2641 to -0.2441; perplexity × 0.7756" in sentences[0][2]
    assert [("does not survive" in sentence[2]) for sentence in sentences] == [False, False, True]
    assert "2 of 3 comparisons survive" in made.note


def test_the_answer_says_among_how_many_comparisons_of_the_table_effects_survive(tmp_path):
    rows = [compared(number, f"rtn W{number} g64", 0.1 * number, survives=number < 3) for number in range(1, 4)]
    for one in rows:
        one["paired"]["tasks"] = {"nll_last_64": effect(0.2, survives=False)}
    note = ranking(found_of(rows, tmp_path, quant=rows)).note
    assert "2 of 3 comparisons of this kind, and 2 of 6 in the table that they come from, survive" in note


def test_the_largest_effect_of_each_configuration_is_said():
    rows = [row(number, quant=quant) for number, quant in enumerate(("W4", "W4", "W3", "W2"))]
    effects = [effect(value) for value in (0.2, -0.3, 0.1, 0.0)]
    found = largest(list(zip(rows, effects)), lambda one: one["labels"]["quant"])
    assert [(one["labels"]["quant"], own["difference"]) for one, own in found] == [("W4", -0.3), ("W3", 0.1)]


def test_verdicts_of_others_move_no_cursor_and_hold_numbers_of_any_size(tmp_path):
    claim = {"claim": "half \ud83d \x1b[2J", "experiment": "t1", "effect": 10**400, "interval": [0, 10**400], "verdict": "reproduced"}
    (tmp_path / "verdicts.json").write_text(json.dumps([claim]), encoding="utf-8")
    (table,) = verdicts(found_of([row(1)], tmp_path)).parts
    ((verdict, said_of_claim, number, interval, _),) = table.rows()
    assert (verdict.text, said_of_claim, number.text, interval) == ("reproduced", "half \\ud83d \\x1b[2J", "inf", "0 to inf")


@pytest.mark.parametrize(("one", "text"), [
    (effect(0.01234, 0.001), "+0.0123 [+0.0113, +0.0133]*"), (effect(-0.5, 0.25, survives=False), "-0.5000 [-0.7500, -0.2500]"),
    ({"difference": 0.5, "low": None, "high": None}, "+0.5000"), ({"reason": "other windows"}, "other windows")])
def test_an_effect_is_said_with_its_interval_and_a_star_where_it_survives(one, text):
    assert said(one) == text


def test_metrics_that_are_another_s_logarithm_or_of_one_length_are_not_shown_apart():
    one = row(1) | {"metrics": dict.fromkeys(["nll", "perplexity", "passkey/accuracy", "passkey/accuracy_512"], {})}
    assert metrics_of([one]) == ["perplexity", "passkey/accuracy"]
    paired = {"nll": effect(0.1), "tasks": {name: effect(0.2) for name in ("arc/acc", "passkey/accuracy_512", "key_tokens")}}
    assert list(differences({"paired": paired})) == ["nll", "arc/acc"]
