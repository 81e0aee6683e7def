// Interpolation pressure and displacement against the schemes' own formulas.
#include "rope/pressure.h"

#include <algorithm>
#include <cmath>

#include "support/catch.h"
#include "support/rope.h"

using namespace qroar;

namespace {

constexpr double kDistance = 1000;
const RopeGeometry kGeometry{8, 1e4, 4096, 32768};  // omega = 1, 0.1, 0.01, 0.001; s = 8
/// Truncation of the central difference is of order h^2 = 1e-8, rounding of order 1e-16 / h = 1e-12.
constexpr double kTolerance = 1e-7;

std::vector<double> pressure(const std::string& yaml, const RopeGeometry& geometry = kGeometry,
                             int64_t length = 32768) {
  return interpolation_pressure(*make_scheme(yaml), geometry, length, kDistance);
}

void check_near(const std::vector<double>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(found[i] - expected[i]) <= kTolerance * std::abs(expected[i]));
  }
}

}  // namespace

TEST_CASE("the pressure of linear interpolation is omega D / s, for a given factor and for auto") {
  check_near(pressure("{type: linear, factor: 4}"), {250, 25, 2.5, 0.25});
  check_near(pressure("{type: linear, factor: auto}"), {125, 12.5, 1.25, 0.125});
  check_near(pressure("{type: linear, factor: 1}"), {1000, 100, 10, 1});
}

TEST_CASE("the slope of a table has its sign, and that of ln m is 0.1 / m for yarn") {
  const TableSlope linear = table_slope(*make_scheme("{type: linear, factor: 4}"), kGeometry, 32768);
  check_near(linear.inv_freq, {-0.25, -0.025, -0.0025, -0.00025});
  CHECK(linear.log_attention_factor == 0);
  const double m = 0.1 * std::log(8) + 1;
  CHECK(std::abs(table_slope(*make_scheme("{type: yarn, factor: 8}"), kGeometry, 32768).log_attention_factor -
                 0.1 / m) < 1e-9);
}

TEST_CASE("the pressure of ntk is omega' D 2i/(d-2): omega'_i = omega_i s^(-2i/(d-2))") {
  std::vector<double> expected;
  for (int i = 0; i < 4; ++i) expected.push_back(std::pow(0.1, i) * std::pow(8, -i / 3.0) * kDistance * i / 3.0);
  check_near(pressure("{type: ntk, factor: 8}"), expected);
}

TEST_CASE("the pressure of yarn, by parts or not, is ramp omega D / s, and peaks in the middle") {
  for (const char* yaml :
       {"{type: yarn, factor: 8, ramp: rotations}", "{type: ntk_by_parts, factor: 8, ramp: rotations}",
        "{type: yarn, factor: auto, ramp: rotations}", "{type: dynamic_yarn, ramp: rotations}"}) {
    CAPTURE(yaml);
    std::vector<double> expected;
    for (int i = 0; i < 4; ++i) {
      const double omega = std::pow(0.1, i), rotations = 4096 * omega / (2 * M_PI);
      expected.push_back(std::clamp((32 - rotations) / 31, 0.0, 1.0) * omega * kDistance / 8);
    }
    CHECK(expected[0] == 0);
    CHECK(expected[2] > expected[3]);
    check_near(pressure(yaml), expected);
  }
}

TEST_CASE("llama3 presses on what it blends and divides, as yarn does with its own ramp") {
  std::vector<double> expected;
  for (int i = 0; i < 4; ++i) {
    const double omega = std::pow(0.1, i), rotations = 4096 * omega / (2 * M_PI);
    expected.push_back((1 - std::clamp((rotations - 1) / 3, 0.0, 1.0)) * omega * kDistance / 8);
  }
  check_near(pressure("{type: llama3, factor: 8}"), expected);
}

TEST_CASE("the pressure of dynamic ntk is that of its length, with the factor a constant of its formula") {
  // stretch = 1 + f (s - 1), so d ln stretch / d ln s = f s / stretch; here f = 2, s = 8: 16 / 15.
  std::vector<double> expected;
  for (int i = 0; i < 4; ++i) {
    expected.push_back(std::pow(0.1, i) * std::pow(15, -i / 3.0) * kDistance * i / 3.0 * 16 / 15);
  }
  check_near(pressure("{type: dynamic_ntk, factor: 2}"), expected);
}

TEST_CASE("at a clamp the pressure is that towards longer sequences, and below it there is none") {
  const RopeGeometry at_trained{8, 1e4, 4096, 4096}, below{8, 1e4, 4096, 2048};
  check_near(pressure("{type: linear, factor: auto}", below, 2048), {0, 0, 0, 0});
  for (const char* dynamic : {"{type: dynamic_ntk}", "{type: dynamic_yarn}", "{type: dynamic_yarn, factor: auto}"}) {
    CAPTURE(dynamic);
    check_near(pressure(dynamic, below, 2048), {0, 0, 0, 0});
  }
  // The factor that a model was trained with is s below its length, too.
  check_near(pressure("{type: dynamic_yarn, factor: 2}", below, 2048),
             pressure("{type: yarn, factor: 2}", below, 2048));
  const std::vector<double> linear = pressure("{type: linear, factor: auto}", at_trained, 4096),
                            ntk = pressure("{type: dynamic_ntk}", at_trained, 4096);
  for (std::size_t i = 0; i < 4; ++i) {  // one-sided: truncation of order h = 1e-4
    const double turned = std::pow(0.1, i) * kDistance;
    CHECK(linear[i] == Approx(turned).epsilon(2e-4));
    CHECK(ntk[i] == Approx(turned * static_cast<double>(i) / 3).epsilon(2e-4).margin(1e-12));
  }
}

TEST_CASE("a table that does not depend on s has no pressure, but a displacement") {
  const std::string lists = "{type: longrope, factor: 8, long_factor: [1, 2, 4, 8]}";
  check_near(pressure("{type: none}"), {0, 0, 0, 0});
  check_near(pressure("{type: model}"), {0, 0, 0, 0});
  check_near(pressure(lists), {0, 0, 0, 0});
  check_near(phase_displacement(*make_scheme(lists), kGeometry, 32768, kDistance), {0, 50, 7.5, 0.875});
  check_near(phase_displacement(*make_scheme("{type: none}"), kGeometry, 32768, kDistance), {0, 0, 0, 0});
}

TEST_CASE("the model's own scaling is pressed like the scheme it names") {
  RopeGeometry geometry = kGeometry;
  geometry.model_rope = {{"type", "linear"}, {"factor", 4}};
  check_near(pressure("{type: model}", geometry), {250, 25, 2.5, 0.25});
}

TEST_CASE("every scheme's pressure and displacement are finite and not negative") {
  for (const auto& [name, entry] : Registry<RopeScheme>::instance().entries()) {
    CAPTURE(name);
    const auto scheme = make_scheme(entry.example);
    for (const auto& values : {interpolation_pressure(*scheme, kGeometry, 32768, kDistance),
                               phase_displacement(*scheme, kGeometry, 32768, kDistance)}) {
      REQUIRE(values.size() == 4);
      for (const double value : values) CHECK((std::isfinite(value) && value >= 0));
    }
  }
}
