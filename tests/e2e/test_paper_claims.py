"""The verdicts of scripts/paper on effects that are known by construction."""
import dataclasses
import random
import statistics
import sys

import pytest
import yaml

from support.program import REPO

sys.path.insert(0, str(REPO / "scripts"))
import paper_claims  # noqa: E402
import paper_effects  # noqa: E402
from paper_sizes import CannotMake  # noqa: E402

# Verdicts.  A fake `show` with two rows, a quantizer and its baseline, at two lengths.
BASE = {"id": "t", "claim": "c", "source": "s", "target": "t1", "compare": "paired", "unit": "nats", "row": {"quant": 4, "l": 2}, "against": {"quant": 0, "l": 2},
        "expect": "above"}


def shown_with(*effects, draws=4):
    """Returns a show(target, option...) in which quant 4 differs from quant 0 by these (difference, low, high, survives) at l = 2, 1."""

    def show(target, *options):
        rows = []
        for length, (value, low, high, survives) in zip((2, 1), effects):
            nll = {"difference": value, "low": low, "high": high, "survives": survives, "draws": draws}
            ratio = {"value": 1 + value, "low": None if low is None else 1 + low, "high": None if high is None else 1 + high}
            metrics = {"perplexity": {"value": 50.0, "low": 40.0, "high": 60.0}}
            rows += [{"id": f"{quant}.{length}", "axes": {"quant": quant, "l": length}, "config": {}, "labels": {}, "metrics": metrics,
                      "paired": {"nll": nll, "perplexity_ratio": ratio} if quant else {"reason": "baseline"}} for quant in (0, 4)]
        return rows

    return show


def verdict(claim, *effects, papers=False, unfinished=None, draws=4):
    return paper_claims.judge([BASE | claim], unfinished or {}, REPO, shown_with(*effects, draws=draws), papers)[0]


@pytest.mark.parametrize("claim, effect, expected", [
    ({}, (0.2, 0.1, 0.3, True), "reproduced"),
    ({}, (0.2, 0.1, 0.3, False), "cannot be told at this size"),  # one of many comparisons
    ({}, (-0.2, -0.3, -0.1, True), "not reproduced"),
    ({}, (0.0, -0.1, 0.1, False), "cannot be told at this size"),
    ({}, (0.2, None, None, False), "cannot be told at this size"),
    ({"worth": 0.5}, (0.0, -0.1, 0.1, False), "not reproduced"),  # the interval has no room for what would count
    ({"worth": 0.05}, (0.0, -0.1, 0.1, False), "cannot be told at this size"),
    ({"worth": 0.5}, (0.2, 0.1, 0.3, True), "not reproduced"),  # more than nothing, and less than what would count
    ({"worth": 0.2}, (0.2, 0.1, 0.3, True), "reproduced"),
    ({"expect": "below"}, (-0.2, -0.3, -0.1, True), "reproduced"),
    ({"expect": "below"}, (0.2, 0.1, 0.3, True), "not reproduced"),
    ({}, (0.0, 0.0, 0.0, False), "not reproduced"),  # two rows that computed the same differ by nothing, which is not above 0
    ({"expect": "below", "than": -10, "unit": "% of perplexity"}, (-0.2, -0.3, -0.11, True), "reproduced"),
    ({"expect": "below", "than": -10, "unit": "% of perplexity"}, (-0.05, -0.09, -0.01, True), "not reproduced"),
    ({"expect": "below", "than": -10, "unit": "% of perplexity"}, (-0.12, -0.2, -0.05, True), "cannot be told at this size"),  # reaches to both sides
    ({"expect": "equal", "than": 5, "unit": "perplexity"}, (0.1, 0.05, 0.15, True), "reproduced"),  # 50 * 0.1
    ({"expect": "equal", "than": 5, "unit": "perplexity"}, (0.1, -0.05, 0.25, False), "cannot be told at this size"),  # has 0 in it, too
    ({"expect": "equal", "than": 9, "unit": "perplexity"}, (0.1, 0.05, 0.15, True), "not reproduced"),
    ({"expect": "equal", "than": 5, "unit": "perplexity", "tolerance": 3}, (0.1, 0.05, 0.15, True), "reproduced"),  # 5 +- 2.5
    ({"expect": "equal", "than": 5, "unit": "perplexity", "tolerance": 2}, (0.1, 0.05, 0.15, True), "cannot be told at this size"),
    ({"expect": "equal", "than": 37.5, "unit": "perplexity", "tolerance": 20}, (0.5, 0.25, 0.75, True), "reproduced"),  # the interval's end
    ({"expect": "equal", "papers_only": True, "than": 5}, (0.1, 0.05, 0.15, True), "not comparable"),
    ({"never": "no protocol"}, (0.1, 0.05, 0.15, True), "not comparable"),
])
def test_verdicts_follow_from_effects(claim, effect, expected):
    found = verdict(claim, effect, effect)
    assert found["verdict"] == expected and found["why"], found
    scale = {"nats": 1, "perplexity": 50, "% of perplexity": 100}[found["unit"]]
    assert found["effect"] == pytest.approx(effect[0] * scale)


def test_what_would_count_is_on_the_claimed_side_of_nothing_and_both_rows_name_lengths():
    for side, sign in (("above", 1), ("below", -1)):
        effect = (0.2 * sign, *sorted((0.1 * sign, 0.3 * sign)), True)
        assert f"the interval excludes {0.5 * sign:+.3g} nats and anything beyond" in verdict({"expect": side, "worth": 0.5}, effect, effect)["why"]
    assert paper_claims.lengths_of({"row": {"windows.length": 1024}, "against": {"windows.length": 512}, "between": {"quant": 4}}) == [512, 1024]


@pytest.mark.parametrize("cost, expected", [((0.5, 0.4, 0.6, True), "not reproduced"), ((0.5, 0.1, 0.9, True), "cannot be told at this size"),
                                            ((0.1, -0.1, 0.3, False), "cannot be told at this size")])
def test_an_effect_too_small_to_count_is_one_beside_a_cost_that_is_known(cost, expected):
    worth = {"share": 0.5, "row": {"quant": 4, "l": 1}, "against": {"quant": 0, "l": 1}}  # half of 0.4, of 0.1, of nothing
    found = verdict({"worth": worth}, (0.0, -0.1, 0.1, False), cost)
    assert found["verdict"] == expected and ("+0.2 nats" in found["why"]) == (expected == "not reproduced"), found


@pytest.mark.parametrize("scales, expected", [([[1.0]], "cannot be told at this size"), ([[0.9]], "reproduced"), ([], "reproduced"),
                                              ([[1.0], [1.0]], "cannot be told at this size"), ([[1.0], [0.9]], "reproduced")])
def test_a_control_whose_search_found_nothing_is_none(scales, expected):
    """Over rounding draws: where none of its searches found anything."""
    searches = [{"g": found} for found in scales]
    more = {"draws": [{"id": str(draw), "draw": draw, "search": search} for draw, search in enumerate(searches)]} if len(scales) > 1 else {}

    def show(*asked):
        rows = shown_with((0.2, 0.1, 0.3, True), (0, 0, 0, True))(*asked)
        return [row | (more or {"search": next(iter(searches), None)}) if row["id"].startswith("0") else row for row in rows]

    found = paper_claims.judge([BASE], {}, REPO, show, False)[0]
    assert found["verdict"] == expected and ("found nothing" in found["why"]) == (expected != "reproduced")


def searched(effect):
    """Returns a show() of rows by a search each, of which that of quant 4 found nothing."""
    def show(*asked):
        rows = shown_with(effect, (0, 0, 0, True))(*asked)
        return [row | {"search": {"g": [0.9 if row["id"].startswith("0") else 1.0], "candidates": 20, "refused": 15}} for row in rows]

    return show


def test_scales_whose_search_found_nothing_change_nothing_and_the_verdict_says_so():
    found = paper_claims.judge([BASE], {}, REPO, searched((0.0, 0.0, 0.0, False)), False)[0]
    assert found["verdict"] == "not reproduced" and found["why"].startswith("no scales found: the search, ") and "refused 15 of 20 candidates" in found["why"], found


def test_the_same_rows_are_no_question_of_an_interval():
    """Scales of 1 answer as no scales do, and the interval over questions is of a score, which is never empty."""
    found = paper_claims.judge([BASE | {"worth": 0.7}], {}, REPO, searched((0.0, -1.2, 1.2, False)), False)[0]
    assert found["verdict"] == "not reproduced" and found["why"].startswith("no scales found: "), found
    found = paper_claims.judge([BASE], {}, REPO, searched((-0.2, -0.3, -0.1, True)), False)[0]
    assert found["verdict"] == "not reproduced" and "other side" in found["why"] and "found nothing better than no scales" in found["why"], found


def test_a_verdict_says_at_which_lengths():
    lengths = {"row": {"quant": 4, "l": 2, "windows.length": 9216}, "between": {"windows.length": 512}}
    assert paper_claims.lengths_of(lengths) == [512, 9216] and verdict({}, (0.2, 0.1, 0.3, True), (0, 0, 0, True))["lengths"] == []


def test_what_a_quantizer_costs_is_full_precision_less_it():
    """The claim's number and the measured one have one sign."""
    claims = yaml.safe_load((REPO / "paper/claims.yaml").read_text(encoding="utf-8"))
    costs = [claim for claim in claims if claim["id"].startswith("accuracy-cost")]
    assert len(costs) == 2 and all(claim["than"] > 0 and not claim["row"]["quant"] and claim["against"]["quant"] for claim in costs)


def test_one_rounding_draw_is_no_verdict_on_a_quantizer():
    one, two = (verdict({}, (0.2, 0.1, 0.3, True), (0, 0, 0, True), draws=draws) for draws in (1, 2))
    assert one["verdict"] == two["verdict"] == "cannot be told at this size" and one["why"].startswith("measured in rounding draws: 1,")
    assert verdict({"row": {"quant": 0, "l": 2}, "against": {"quant": 4, "l": 2}}, (0.2, 0.1, 0.3, True), (0, 0, 0, True), draws=1)["why"] != one["why"]


@pytest.mark.parametrize("known, unknown, apart, expected, why", [
    (6, 24, 0, "cannot be told at this size", "so in 0 of 6 layers and bands, 24 without interval: too few"),
    (20, 24, 0, "cannot be told at this size", "so in 0 of 20 layers and bands, 24 without interval: too few"),
    (19, 0, 19, "cannot be told at this size", "so in 19 of 19 layers and bands: too few"),
    (22, 22, 12, "cannot be told at this size", "so in 12 of 22 layers and bands, 22 without interval: too few"),  # not of more than half
    (24, 6, 0, "not reproduced", "so in 0 of 24 layers and bands, 6 without interval, one of twenty at most"),
    (20, 0, 1, "not reproduced", "so in 1 of 20 layers and bands, one of twenty"), (20, 0, 2, "cannot be told at this size", "so in 2 of 20 layers and bands, in some"),
    (20, 0, 11, "reproduced", "so in 11 of 20 layers and bands, more than half"), (20, 0, 10, "cannot be told at this size", "so in 10 of 20"),
])
def test_shares_of_layers_and_bands_need_most_of_them(tmp_path, known, unknown, apart, expected, why):
    for cell, low in (("t", 1), ("u", 0)):
        folder = tmp_path / "t1/cells" / cell / "diagnostics"
        folder.mkdir(parents=True)
        lines = [f"{place},0,k,{low if place < apart else 0},{low + 0.5 if place < apart else 0.5}" for place in range(known)]
        lines += [f"{known + place},0,k,," if cell == "u" else f"{known + place},0,k,0,1" for place in range(unknown)]
        (folder / "counts.csv").write_text("\n".join(["layer,band,site,share_low,share_high", *lines]) + "\n", encoding="utf-8")
    claim = {"id": "t", "claim": "c", "source": "s", "target": "t1", "compare": "places", "unit": "share", "table": "counts", "column": "share",
             "where": {"site": "k"}, "row": {"rope": 1}, "against": {"rope": 0}}
    rows = [{"id": cell, "axes": {"rope": rope}, "config": {}} for cell, rope in (("t", 1), ("u", 0))]
    found = paper_claims.judge([claim], {}, tmp_path, lambda *_: rows, False)[0]
    assert found["verdict"] == expected and found["why"].startswith(why), found
    one_sided = {key: value for key, value in claim.items() if key != "against"} | {"than": 0.9, "beside": {"name": "without", "row": {"rope": 0}}}
    told = paper_claims.judge([one_sided], {}, tmp_path, lambda *_: rows, False)[0]
    assert told["effect"] == apart / (known + unknown) and told["why"].endswith(f"; without in 0 of {known}"), told
    assert found["effect"] == apart / known


NOISE = {"id": "t", "claim": "c", "source": "s", "target": "causes", "compare": "diagnostic", "unit": "times", "table": "noise", "column": "noise",
         "where": {"by": "position", "begin": "last"}, "over": {"by": "position", "begin": "first"}, "row": {"quant": 4}, "expect": "above", "than": 1, "worth": 0.1}


def noise(tmp_path, *draws, **changed):
    """Judges a claim on a table whose noise is 2 [1.9, 2.1] at position 0 and these values, in each draw, within 0.1 at 512, in two layers each."""
    for number, last in enumerate(draws):
        folder = tmp_path / "causes/cells" / f"d{number}" / "diagnostics"
        folder.mkdir(parents=True)
        lines = ["layer,by,begin,noise,noise_low,noise_high", "0,distance,9999,7,7,7"]
        for begin, value in ((0, 2), (512, last), (64, 9)):  # by number and not by word, in which 64 is the last
            lines += [f"{layer},position,{begin},{value + shift},{value + shift - 0.1},{value + shift + 0.1}" for layer, shift in ((0, -1), (1, 1))]
        (folder / "noise.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    row = {"id": "d0", "axes": {"quant": 4}, "config": {}, "draws": [{"id": f"d{number}"} for number in range(len(draws))]}
    return paper_claims.judge([NOISE | changed], {}, tmp_path, lambda *_: [row], False)[0]


@pytest.mark.parametrize("draws, changed, expected", [
    ((4, 4, 4), {}, "reproduced"), ((4, 4, 1), {}, "cannot be told at this size"),  # the outermost ends of all draws
    ((4, 4), {}, "cannot be told at this size"), ((1, 1, 1), {}, "not reproduced"),
    ((2.2, 2.2, 2.2), {"worth": 0.3}, "not reproduced"),  # 1.1 [1.0, 1.21]: too small to count
    ((2.5, 2.5, 2.5), {}, "reproduced"), ((4, 4, 4), {"expect": "below"}, "not reproduced"), ((4, 4, 4), {"column": "kl"}, "cannot be told at this size"),
    ((4, 4, 4), {"where": {"by": "band", "begin": "last"}}, "cannot be told at this size"),
])
def test_a_number_of_a_diagnostic_is_the_mean_over_layers_and_its_ratio_has_the_outermost_ends(tmp_path, draws, changed, expected):
    found = noise(tmp_path, *draws, **changed)
    assert found["verdict"] == expected and found["why"], found
    if found["interval"]:
        low, high = (min(draws) - 0.1) / 2.1, (max(draws) + 0.1) / 1.9
        assert [found["effect"], *found["interval"]] == pytest.approx([sum(draws) / len(draws) / 2, low, high])
    if changed == {"worth": 0.3}:
        assert "excludes 1.3 times" in found["why"]


def test_a_number_of_a_diagnostic_stands_beside_that_of_another_row(tmp_path):
    found = noise(tmp_path, 4, 4, 4, beside={"name": "without a scheme", "row": {"quant": 4}})
    assert found["verdict"] == "reproduced" and found["why"].endswith("as claimed; without a scheme 2.00 [1.86, 2.16]"), found


def test_a_ratio_reaches_as_far_as_any_two_ends_take_it():
    found = paper_effects.Effect(0.5, -1.0, 2.0).over(paper_effects.Effect(2.0, 1.0, 4.0))
    assert [found.value, found.low, found.high] == [0.25, -1.0, 2.0]
    assert paper_effects.Effect(0.5, -1.0, 2.0).over(paper_effects.Effect(2.0, 0.0, 4.0)).low is None


@pytest.mark.parametrize("changed, said", [
    ({"unit": None}, "claim t: lacks unit"), ({"compare": "pair"}, "claim t: compare: unknown comparison 'pair'; did you mean paired?"),
    ({"expect": "over"}, "claim t: expect: write above, below or equal"), ({"expect": "equal"}, "claim t: lacks than"),
    ({"worth": "0.1"}, "claim t: worth: expected a number, not '0.1'"), ({"id": None, "against": None}, "claim 1: lacks id, against"),
])
def test_a_claim_that_cannot_be_judged_is_one_line_with_its_key(changed, said):
    claim = {key: value for key, value in (BASE | changed).items() if value is not None}
    with pytest.raises(CannotMake) as refused:
        paper_claims.checked([claim], "claims.yaml")
    assert str(refused.value).startswith(f"claims.yaml: {said}")
    with pytest.raises(CannotMake, match="expected a list of claims"):
        paper_claims.checked({"id": "t"}, "claims.yaml")


def test_a_number_of_a_diagnostic_without_intervals_is_no_verdict(tmp_path):
    noise(tmp_path, 4, 4, 4)
    for path in tmp_path.glob("causes/cells/*/diagnostics/noise.csv"):
        path.write_text("layer,by,begin,noise,noise_low,noise_high\n0,position,0,2,,\n0,position,512,4,,\n", encoding="utf-8")
    row = {"id": "d0", "axes": {"quant": 4}, "config": {}}
    found = paper_claims.judge([NOISE], {}, tmp_path, lambda *_: [row], False)[0]
    assert (found["effect"], found["interval"], found["why"]) == (2.0, None, "no interval: below four documents or questions")


def test_two_effects_are_subtracted_end_from_end():
    less = {"less": {"row": {"quant": 4, "l": 1}, "against": {"quant": 0, "l": 1}}}
    found = verdict(less, (0.5, 0.4, 0.6, True), (0.2, 0.1, 0.3, True))
    assert [found["effect"], *found["interval"]] == pytest.approx([0.3, 0.1, 0.5])
    assert found["verdict"] == "reproduced"
    assert verdict(less, (0.5, 0.4, 0.6, True), (0.4, 0.3, 0.5, True))["verdict"] == "cannot be told at this size"


def test_a_mean_over_benchmarks_adds_the_squares_of_each_side():
    found = paper_effects.mean([paper_effects.Effect(0.1, 0.07, 0.13), paper_effects.Effect(0.3, 0.26, 0.34)])
    assert [found.value, found.low, found.high] == pytest.approx([0.2, 0.2 - 0.025, 0.2 + 0.025])
    found = paper_effects.mean([paper_effects.Effect(0.1, 0.07, 0.14), paper_effects.Effect(0.3, 0.26, 0.33)])  # of shares, which are not in the middle
    assert [found.value, found.low, found.high] == pytest.approx([0.2, 0.2 - 0.025, 0.2 + 0.025])


def test_a_mean_over_benchmarks_covers_where_a_rounding_draw_moves_them_all():
    random_ = random.Random(1)
    covered, trials = {True: 0, False: 0}, 400
    for _ in range(trials):
        shifts = [random_.gauss(0, 0.05) for _ in range(4)]
        effects = []
        for _ in range(5):
            values = [shift + random_.gauss(0, 0.02) for shift in shifts]
            half = 3.182 * statistics.stdev(values) / 2  # Student's, of three degrees of freedom
            effects.append(paper_effects.Effect(statistics.mean(values), statistics.mean(values) - half, statistics.mean(values) + half, draws=4))
        for shared in covered:
            found = paper_effects.mean(effects if shared else [dataclasses.replace(effect, draws=1) for effect in effects])
            covered[shared] += found.low <= 0 <= found.high
    assert covered[True] >= 0.93 * trials and covered[False] < 0.85 * trials, covered


def test_a_number_of_the_papers_is_compared_on_their_models_alone_and_an_unfinished_target_says_so():
    claim = {"expect": "equal", "papers_only": True, "than": 5, "unit": "perplexity"}
    assert verdict(claim, (0.1, 0.05, 0.15, True), (0, 0, 0, True), papers=True)["verdict"] == "reproduced"
    assert verdict({}, (0.1, 0.05, 0.15, True), (0, 0, 0, True), unfinished={"t1": "t1 has not run"})["why"] == "t1 has not run"
    assert "no row" in verdict({"row": {"quant": 3, "l": 2}}, (0.1, 0.05, 0.15, True), (0, 0, 0, True))["why"]


@pytest.mark.parametrize("others, expected", [([], True), ([0.9] * 3, True), ([0.9] * 4, False), ([0.9] * 2 + [0.001] * 3, True)])
def test_a_derived_effect_is_put_among_the_comparisons_of_its_table(others, expected):
    half = 0.1 * 1.959964 / 2.5  # p = 0.0124
    nll = {"difference": 0.5, "low": 0.4, "high": 0.6, "survives": True, "draws": 4}
    tasks = {"a/acc": {"difference": 0.1, "low": 0.1 - half, "high": 0.1 + half, "survives": False, "draws": 4, "p_value": None}}
    rows = [{"id": "0", "axes": {"quant": 0}, "config": {}, "paired": {"reason": "baseline"}},
            {"id": "4", "axes": {"quant": 4}, "config": {}, "paired": {"nll": nll, "tasks": tasks | {f"{k}/acc": {"p_value": p} for k, p in enumerate(others)}}}]
    claim = BASE | {"row": {"quant": 4}, "against": {"quant": 0}, "unit": "points", "metrics": ["a/acc"]}
    found = paper_claims.judge([claim], {}, REPO, lambda *_: rows, False)[0]
    assert found["effect"] == pytest.approx(10) and found["verdict"] == ("reproduced" if expected else "cannot be told at this size"), found
    assert expected or "Benjamini" in found["why"]


def test_the_p_value_of_an_interval_is_that_of_the_end_nearer_to_nothing():
    assert paper_effects.Effect(1.0, 0.0, 9.0).p_value() == pytest.approx(0.05, abs=1e-5)
    assert paper_effects.Effect(-1.0, -9.0, 0.0).p_value() == pytest.approx(0.05, abs=1e-5)
    assert paper_effects.Effect(0.0, 0.0, 0.0).p_value() == 1
