"""The points of diagnostics' figures are those of their tables, worked out by hand."""
import math
import sys

import pytest

from support.program import REPO

sys.path.insert(0, str(REPO / "scripts"))
from reporting.diagnostic_kinds import KINDS  # noqa: E402


def points_of(kind, title, unit, lines):
    """The points of one panel of a kind's figure, from lines of its table with what the test leaves out empty."""
    (panel,) = [panel for panel in KINDS[kind][1]() if panel[:2] == (title, unit)]
    names = {name for line in lines for name in line}
    return panel[3]([dict.fromkeys(names, "") | {name: str(value) for name, value in line.items()} for line in lines])


def test_noise_relative_to_the_logits_is_divided_by_their_size():
    line = {"layer": "", "by": "position", "begin": 0, "end": 100, "noise": 0.2, "noise_low": 0.1, "noise_high": 0.4, "magnitude": 4, "moved": 0.5,
            "moved_low": 0.25, "moved_high": 0.75}
    lines = [line, line | {"layer": 0, "noise": 9}, line | {"by": "distance", "noise": 9}, line | {"begin": 100, "end": 200, "magnitude": 0}]
    assert points_of("logit_noise", "by position", "mean |Δ logit|", lines) == {49.5: (0.2, 0.1, 0.4), 149.5: (0.2, 0.1, 0.4)}
    relative = points_of("logit_noise", "by position", "relative to |logit|", lines)
    assert relative[49.5] == pytest.approx((0.05, 0.025, 0.1)) and relative[149.5] == (0, 0, 0)
    assert points_of("logit_noise", "by position", "attention moved", lines)[49.5] == (0.5, 0.25, 0.75)


def test_grids_are_compared_at_the_middle_of_their_angles_over_sites():
    line = {"grid": "pair", "angle_begin": 0, "angle_end": 10, "rms": 3, "largest": 5}
    lines = [line, line | {"rms": 4, "largest": 2}, line | {"grid": "channel", "rms": 9}, line | {"angle_begin": "", "angle_end": "", "rms": 9}]
    assert points_of("anisotropy", "grid per pair", "rms / (step / √12)", lines) == {5: pytest.approx(math.sqrt(12.5))}
    assert points_of("anisotropy", "grid per pair", "largest / (step / 2)", lines) == {5: 5}


def test_snr_of_layers_and_the_mean_over_layers_by_band():
    lines = [{"layer": layer, "site": f"layers.{layer}.q_proj", "band": band, "output_snr_db": snr}
             for layer, band, snr in ((0, "", 20), (1, "", 30), (0, 0, 10), (1, 0, 14), (1, 1, "inf"))]
    assert points_of("quant_error", "q_proj", "", lines) == {0: 20, 1: 30}
    assert points_of("quant_error", "q_proj, by band", "", lines) == {0: 12}


def test_derivatives_are_those_of_bands_over_all_layers():
    line = {"parameter": "ln_g", "layer": "", "band": 1, "pair": "", "absolute": 0.5, "absolute_low": 0.4, "absolute_high": 0.6, "derivative": -9}
    lines = [line, line | {"parameter": "ln_s"}, line | {"layer": 0, "absolute": 9}, line | {"pair": 7, "absolute": 9}, line | {"band": ""}]
    assert points_of("sensitivity", "|d NLL / d ln g|", "nats per unit", lines) == {1: (0.5, 0.4, 0.6)}


def test_a_stopped_phase_changes_the_loss_at_the_middle_of_its_positions():
    line = {"moving": "wrapped", "begin": 100, "end": 200, "nll": 2, "difference": -0.5, "difference_low": -0.6, "difference_high": -0.4}
    lines = [line, line | {"moving": "all", "nll": 3, "difference": ""}]
    assert points_of("aliasing", "only wrapped move on", "change of NLL (nats)", lines) == {149.5: (-0.5, -0.6, -0.4)}
    assert points_of("aliasing", "no pair stops", "NLL (nats)", lines) == {149.5: 3}
