// The diagnostics that need no forward: interpolation_pressure and phase.
#include <ATen/ATen.h>

#include "support/catch.h"
#include "support/errors.h"
#include "support/table.h"

namespace qroar {

TEST_CASE("interpolation_pressure has a row per pair, and mean and largest of every band") {
  DiagnosedCell cell("[]");
  cell.scheme = make_scheme("{type: linear, factor: 2}");
  const Table table = table_of(cell, "{type: interpolation_pressure, bands: 4, distance: 100}");
  REQUIRE(table.size() == 8 + 2 * 4);
  const std::vector<double> omega = base_frequencies(16, 1e4);
  for (std::size_t i = 0; i < 8; ++i) {
    const Row row = first_row(table, {{"pair", std::to_string(i)}});
    CHECK(row.at("band") == std::to_string(i / 2));
    CHECK(std::stod(row.at("pressure_rad")) == Approx(50 * omega[i]).epsilon(1e-7));
    CHECK(std::stod(row.at("displacement_rad")) == Approx(50 * omega[i]).epsilon(1e-8));
  }
  const Row mean = first_row(table, {{"band", "1"}, {"statistic", "mean"}}),
            max = first_row(table, {{"band", "1"}, {"statistic", "max"}});
  CHECK(std::stod(mean.at("pressure_rad")) == Approx(25 * (omega[2] + omega[3])).epsilon(1e-7));
  CHECK(std::stod(max.at("displacement_rad")) == Approx(50 * omega[2]).epsilon(1e-8));
  // Without a distance: windows.length, 40 here.
  const Row first = first_row(table_of(cell, "{type: interpolation_pressure}"), {{"pair", "0"}});
  CHECK(std::stod(first.at("pressure_rad")) == Approx(20).epsilon(1e-7));
}

TEST_CASE("phase: Llama-2's pairs 46 to 63 do not complete a period over its trained length") {
  DiagnosedCell cell("[]");
  cell.geometry = llama2_geometry();
  for (const auto& [scheme, first_at_target] : {std::pair{"{type: none}", 60}, {"{type: linear, factor: 8}", 46}}) {
    cell.scheme = make_scheme(scheme);
    const Table table = table_of(cell, "{type: phase}");
    REQUIRE(table.size() == 64);
    for (int i = 0; i < 64; ++i) {
      CAPTURE(scheme, i);
      const Row& row = table[static_cast<std::size_t>(i)];
      CHECK(row.at("pair") == std::to_string(i));
      if (first_at_target == 60) CHECK(row.at("incomplete_trained") == (i >= 46 ? "1" : "0"));
      CHECK(row.at("incomplete_target") == (i >= first_at_target ? "1" : "0"));
    }
    const double s = first_at_target == 60 ? 1 : 8;
    CHECK(std::stod(table[0].at("wavelength_tokens")) == Approx(6.283185307 * s).epsilon(1e-8));
    CHECK(std::stod(table[0].at("wraps_trained")) == Approx(4096 / 6.283185307 / s).epsilon(1e-8));
    CHECK(std::stod(table[32].at("wraps_target")) == Approx(32768 * 0.01 / 6.283185307 / s).epsilon(1e-8));
    CHECK(table[63].at("band") == "5");
  }
}

TEST_CASE("phase: wavelengths of a scheme that follows the length are those of the cell's windows") {
  DiagnosedCell cell("[]");
  cell.geometry = llama2_geometry();
  cell.scheme = make_scheme("{type: dynamic_ntk}");  // at 32768 of 4096 tokens: a base 8^(128 / 126) times as large
  const Table table = table_of(cell, "{type: phase}");
  CHECK(std::stod(table[63].at("wavelength_tokens")) ==
        Approx(6.283185307 * std::pow(1e4 * std::pow(8, 128 / 126.0), 126 / 128.0)).epsilon(1e-8));
}

TEST_CASE("the closed-form diagnostics' options are checked with their place") {
  const DiagnosedCell cell("[]");
  for (const std::string type :
       {"phase", "interpolation_pressure", "outlier_counts", "tail_ratios", "logit_noise", "sensitivity"}) {
    CHECK(error_text([&] { diagnose(cell, "{type: " + type + ", bands: 9}"); }) ==
          "test.yaml:1:1: 9 bands need as many RoPE pairs and head_dim 16 has 8; take `bands: 8` or fewer");
  }
  CHECK(contains(error_text([&] { diagnose(cell, "{type: interpolation_pressure, distance: 0}"); }), "distance"));
}

}  // namespace qroar
