"""Judges the papers' claims (paper/claims.yaml) by their effects (paper_effects.py); scripts/paper calls it.

What one rounding draw says of a quantizer is no verdict.  docs/paper.md has the rules.
"""
from paper_effects import Share, Target, Unknown, effect_of, found_nothing, known_at_least
from paper_sizes import CannotMake, closest
from reporting.rows import digits_of

REPRODUCED, NOT, CANNOT, OTHER = "reproduced", "not reproduced", "cannot be told at this size", "not comparable"
TOO_SMALL, NO_SCALES = "too small to count", "no scales found"  # with which the reasons of a NOT begin that the word alone does not tell
OF_DIAGNOSTIC = ("row", "table", "column", "where")
NEEDS = {"paired": ("row", "against"), "interaction": ("row", "between"), "value": ("row",), "places": OF_DIAGNOSTIC, "diagnostic": OF_DIAGNOSTIC}
LEAST_PLACES = 20  # of layers and bands with an interval: as many as let one in twenty show


def checked(claims, file):
    """Returns claims as the file has them; CannotMake names the first that cannot be judged, and its key."""
    if not isinstance(claims, list) or not all(isinstance(claim, dict) for claim in claims):
        raise CannotMake(f"{file}: expected a list of claims, each a map with id, claim, source, target, compare, unit")
    for number, claim in enumerate(claims, start=1):
        where, kind = f"{file}: claim {claim.get('id', number)}", claim.get("compare")
        if kind not in NEEDS:
            raise CannotMake(f"{where}: compare: {closest(str(kind), NEEDS, 'comparison')}")
        needed = ("id", "claim", "source", "target", "unit", *NEEDS[kind], *["than"] * (claim.get("expect") == "equal"))
        lacking = [key for key in needed if key not in claim]
        if lacking:
            raise CannotMake(f"{where}: lacks {', '.join(lacking)}")
        if kind != "places" and claim.get("expect") not in ("above", "below", "equal"):
            raise CannotMake(f"{where}: expect: write above, below or equal")
        for key, kinds in {"than": (int, float), "tolerance": (int, float), "worth": (int, float, dict)}.items():
            if not isinstance(claim.get(key, 0), kinds):
                raise CannotMake(f"{where}: {key}: expected a number, not {claim[key]!r}")
    return claims


def verdict_of_places(share):
    said = f"so in {share.apart} of {share.known} layers and bands" + (f", {share.unknown} without interval" if share.unknown else "")
    if share.known < LEAST_PLACES or share.known <= share.unknown:
        return CANNOT, f"{said}: too few to speak for all"
    if share.value > 0.5:
        return REPRODUCED, f"{said}, more than half"
    return (NOT, f"{said}, one of twenty at most, as by chance") if share.value <= 0.05 else (CANNOT, f"{said}, in some and not in most")


def verdict_of_number(effect, claim):
    if not effect.low <= claim["than"] <= effect.high:
        return NOT, f"the interval excludes {claim['than']:g}"
    if effect.high - effect.low > 2 * claim["tolerance"] if "tolerance" in claim else effect.low <= 0 <= effect.high:
        return CANNOT, f"the interval has {claim['than']:g} in it, and too much else"
    return REPRODUCED, f"the interval has {claim['than']:g} in it"


def verdict_of_side(effect, claim):
    side, than, worth = claim["expect"], claim.get("than", 0), claim.get("worth", 0)
    said = f"{than:g}" + (f" {claim['unit']}" if than else "")
    sign = 1 if side == "above" else -1
    effect = effect.scaled(sign)
    if effect.high <= sign * than:
        return NOT, f"claimed is {side} {said}; the whole interval is on the other side of it"
    if effect.high < sign * than + worth:  # also where it is surely more than nothing
        edge = than + sign * worth
        return NOT, f"{TOO_SMALL}: the interval excludes {edge:{'' if than else '+'}.3g} {claim['unit']} and anything beyond"
    if effect.low > sign * than:
        return (REPRODUCED, f"the whole interval is {side} {said}, as claimed") if effect.survives else (
            CANNOT, f"the interval is {side} {said}, as claimed, but of so many comparisons some are by chance (Benjamini and Hochberg at 5 %)")
    return CANNOT, f"claimed is {side} {said}; the interval reaches to both sides of it"


def judge_one(claim, unfinished, folder, targets, show, of_the_papers):
    """Returns (effect, verdict, why)."""
    name = claim["target"]
    if name in unfinished:
        return None, CANNOT, unfinished[name]
    try:
        if name not in targets:
            targets[name] = Target(name, folder / name, show)
        effect = effect_of(claim, targets[name])
        if isinstance(claim.get("worth"), dict):
            claim = claim | {"worth": known_at_least(claim["worth"], targets[name])}
        beside = f"; {claim['beside']['name']} {short(effect_of(claim | {'row': claim['beside']['row']}, targets[name]))}" if "beside" in claim else ""
    except Unknown as reason:
        return None, CANNOT, str(reason)
    if "never" in claim:
        return effect, OTHER, claim["never"]
    if "against" in claim and (nothing := found_nothing(targets[name].find(claim["against"]))):
        return effect, CANNOT, f"the search of what it is compared with {nothing}, so that nothing is compared with it"
    if claim.get("papers_only") and not of_the_papers:
        return effect, OTHER, "the number belongs to the papers' models, and this is another one"
    if claim["compare"] == "places":
        verdict, why = verdict_of_places(effect)
        return effect, verdict, why + beside
    if effect.low is None:
        return effect, CANNOT, "no interval: below four documents or questions"
    if any(claim.get(side, {}).get("quant") for side in ("row", "against")) and effect.draws in (1, 2):
        return effect, CANNOT, f"measured in rounding draws: {effect.draws}, and another draw may move it as much; give the file of sizes three draws or more"
    verdict, why = (verdict_of_number if claim["expect"] == "equal" else verdict_of_side)(effect, claim)
    if nothing := claim["compare"] in ("paired", "interaction") and found_nothing(targets[name].find(claim["row"])):
        said = f"the search, within the grid and the budget of these sizes, {nothing}"
        if effect.value == 0:
            return effect, NOT, f"{NO_SCALES}: {said}, so that nothing changes"
        why += f"; {said}"
    return effect, verdict, why + beside


def lengths_of(claim):
    """Returns the lengths of the windows that a claim names, in tokens."""
    return sorted({part["windows.length"] for part in (claim.get(side, {}) for side in ("row", "against", "between")) if "windows.length" in part})


def judge(claims, unfinished, folder, show, of_the_papers):
    """Returns a verdict for every claim; unfinished: {target: why its claims cannot be judged}; show(target, option...) -> the rows of
    `qroar show --format json`, or Unknown."""
    targets, verdicts = {}, []
    for claim in claims:
        effect, verdict, why = judge_one(claim, unfinished, folder, targets, show, of_the_papers)
        known = effect is not None and effect.low is not None
        verdicts.append({"id": claim["id"], "claim": claim["claim"], "source": claim["source"], "experiment": claim["target"], "lengths": lengths_of(claim),
                         "effect": effect.value if effect else None, "interval": [effect.low, effect.high] if known else None, "unit": claim["unit"],
                         "verdict": verdict, "why": why})
    return verdicts


def with_ends(value, low, high):
    """Returns "0.012 [0.005, 0.020]", to two digits of the interval's half."""
    if low is None:
        return f"{value:.3g}"
    digits = digits_of(low, high)
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def short(effect):
    return f"in {effect.apart} of {effect.known}" if isinstance(effect, Share) else with_ends(effect.value, effect.low, effect.high)


def effect_text(entry):
    """Returns "0.012 [0.005, 0.020] nats at 512 and 4096 tokens" of a verdict; empty where nothing was measured."""
    if entry["effect"] is None:
        return ""
    text = with_ends(entry["effect"], *entry["interval"] or (None, None))
    lengths = " and ".join(map(str, entry["lengths"]))
    return f"{text} {entry['unit']}" + (f" at {lengths} tokens" if lengths else "")


def table(verdicts):
    lines = ["| claim | source | target | measured here | verdict | why |", "|---|---|---|---|---|---|"]
    for entry in verdicts:
        cells = [entry["claim"], entry["source"], entry["experiment"], effect_text(entry), f"**{entry['verdict']}**", entry["why"]]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"
