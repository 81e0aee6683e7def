// What every registered RoPE scheme must keep to; a new scheme is found here through the registry.
#include <cmath>
#include <optional>
#include <set>

#include "support/catch.h"
#include "support/rope.h"

using namespace qroar;

namespace {

const std::vector<int64_t> kHeadDims = {8, 64, 128};
const std::vector<double> kThetas = {1e4, 5e5, 1e6};
constexpr int64_t kTrained = 4096;

/// Calls `body` with every geometry and length of the grid.
template <class Body>
void for_each_case(const Body& body) {
  for (int64_t head_dim : kHeadDims) {
    for (double theta : kThetas) {
      for (int64_t length : {int64_t{1}, kTrained, 8 * kTrained}) {
        CAPTURE(head_dim, theta, length);
        body(RopeGeometry(head_dim, theta, kTrained, 8 * kTrained), length);
      }
    }
  }
}

/// The scheme built from its example with another factor.
std::unique_ptr<RopeScheme> with_factor(const Config& example, const std::string& factor) {
  const Config value = Config::parse("{factor: " + factor + "}", "factor").at("factor");
  return Registry<RopeScheme>::instance().build(example.with("factor", value));
}

/// The example's table, or nothing where it is for another head_dim, which it must then say.
std::optional<RopeTable> table_of(const RopeScheme& scheme, const RopeGeometry& geometry, int64_t length) {
  try {
    return scheme.table(geometry, length);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find(fmt::format("head_dim {}", geometry.rotary_dim)) != std::string::npos);
    return std::nullopt;
  }
}

}  // namespace

TEST_CASE("all RoPE schemes are registered with a summary and an example that builds") {
  const auto& entries = Registry<RopeScheme>::instance().entries();
  REQUIRE(!entries.empty());
  for (const auto& [name, entry] : entries) {
    CAPTURE(name);
    CHECK(!entry.summary.empty());
    CHECK(make_scheme(entry.example) != nullptr);
    CHECK(Config::parse(entry.example, "example").get<std::string>("type") == name);
  }
}

TEST_CASE("every scheme's frequencies are finite, ordered and never above the base's") {
  std::set<std::string> bound_to_a_head_dim;
  for (const auto& [name, entry] : Registry<RopeScheme>::instance().entries()) {
    CAPTURE(name);
    const auto scheme = make_scheme(entry.example);
    for_each_case([&, &scheme_name = name](const RopeGeometry& geometry, int64_t length) {
      const std::optional<RopeTable> table = table_of(*scheme, geometry, length);
      if (!table) {
        bound_to_a_head_dim.insert(scheme_name);
        CHECK(geometry.rotary_dim != 8);
        return;
      }
      const std::vector<double> plain = base_frequencies(geometry.rotary_dim, geometry.theta);
      REQUIRE(table->inv_freq.size() == plain.size());
      for (std::size_t i = 0; i < plain.size(); ++i) {
        const double frequency = table->inv_freq[i];
        REQUIRE(std::isfinite(frequency));
        REQUIRE(frequency >= 0);
        REQUIRE(frequency <= plain[i] * (1 + 1e-15));
        if (i > 0) REQUIRE(frequency <= table->inv_freq[i - 1]);
      }
      REQUIRE(std::isfinite(table->attention_factor));
      REQUIRE(table->attention_factor > 0);
    });
  }
  CHECK(bound_to_a_head_dim.size() < Registry<RopeScheme>::instance().entries().size());
}

TEST_CASE("every scheme that says so is plain RoPE at factor 1 and the trained length") {
  for (const auto& [name, entry] : Registry<RopeScheme>::instance().entries()) {
    CAPTURE(name);
    const Config example = Config::parse(entry.example, "example");
    const auto scheme = example.has("factor") ? with_factor(example, "1") : make_scheme(entry.example);
    if (!scheme->is_plain_at_factor_1()) continue;
    for_each_case([&](const RopeGeometry& geometry, int64_t length) {
      if (length > kTrained) return;
      const std::optional<RopeTable> table = table_of(*scheme, geometry, length);
      if (!table) return;
      const std::vector<double> plain = base_frequencies(geometry.rotary_dim, geometry.theta);
      REQUIRE(table->inv_freq.size() == plain.size());
      for (std::size_t i = 0; i < plain.size(); ++i) {
        REQUIRE(std::abs(table->inv_freq[i] - plain[i]) <= 1e-15 * plain[i]);
      }
      REQUIRE(table->attention_factor == 1.0);
    });
  }
}

TEST_CASE("every scheme with a factor slows the slowest pair by it and reads auto as target over trained length") {
  for (const auto& [name, entry] : Registry<RopeScheme>::instance().entries()) {
    CAPTURE(name);
    const Config example = Config::parse(entry.example, "example");
    if (!example.has("factor")) continue;
    const RopeGeometry geometry{8, 1e4, kTrained, 8 * kTrained};
    const auto table_with = [&](const std::string& factor) {
      return with_factor(example, factor)->table(geometry, 8 * kTrained);
    };
    CHECK(table_with("auto").inv_freq == table_with("8").inv_freq);
    CHECK(table_with("auto").attention_factor == table_with("8").attention_factor);
    CHECK(table_with("8").inv_freq.back() < base_frequencies(8, 1e4).back());
  }
}
