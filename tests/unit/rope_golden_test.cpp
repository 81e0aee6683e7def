// Every number of docs/method.md 2.5 (computed there in double precision, independently of this program).
#include <cmath>

#include "rope/ramp.h"
#include "support/catch.h"
#include "support/rope.h"

using namespace qroar;

namespace {

/// inv' / inv of one pair for the Llama-2 geometry.
double ratio(const std::string& yaml, std::size_t pair) {
  const RopeGeometry geometry = llama2_geometry();
  const double scaled = make_scheme(yaml)->table(geometry, 4096).inv_freq.at(pair);
  return scaled / base_frequencies(geometry.rotary_dim, geometry.theta).at(pair);
}

/// The base that a table's frequencies were made with, from its second pair.
double base_of(const RopeTable& table) {
  const auto half = static_cast<double>(table.inv_freq.size());
  return std::pow(table.inv_freq[1], -half);
}

}  // namespace

TEST_CASE("plain frequencies of Llama-2 match the golden numbers") {
  const std::vector<double> inv_freq = make_scheme("{type: none}")->table(llama2_geometry(), 4096).inv_freq;
  REQUIRE(inv_freq.size() == 64);
  CHECK(inv_freq[0] == 1.0);
  CHECK(inv_freq[10] == Approx(2.37137371e-1).epsilon(1e-8));
  CHECK(inv_freq[20] == Approx(5.62341325e-2).epsilon(1e-8));
  CHECK(inv_freq[32] == Approx(1e-2).epsilon(1e-14));
  CHECK(inv_freq[46] == Approx(1.33352143e-3).epsilon(1e-8));
  CHECK(inv_freq[63] == Approx(1.15478198e-4).epsilon(1e-8));
}

TEST_CASE("YaRN's correction range matches the golden numbers of three models") {
  struct Row {
    RopeGeometry geometry;
    double fast, slow, low, high;
  };
  const Ramp ramp(Config::parse("{}", "test.yaml"));
  for (const Row& row :
       {Row{llama2_geometry(), 20.944482, 45.026881, 20, 46}, Row{{128, 1e4, 2048, 0}, 16.128002, 40.210401, 16, 41},
        Row{llama3_geometry(), 18.081135, 34.984119, 18, 35}}) {
    CAPTURE(row.geometry.theta, row.geometry.trained_length);
    CHECK(correction_index(row.geometry, 32) == Approx(row.fast).margin(1e-6));
    CHECK(correction_index(row.geometry, 1) == Approx(row.slow).margin(1e-6));
    CHECK(ramp.index_range(row.geometry).low == row.low);
    CHECK(ramp.index_range(row.geometry).high == row.high);
  }
}

TEST_CASE("attention factors and NTK bases by factor match the golden numbers") {
  struct Row {
    int s;
    double mscale, squared, base, longrope;
  };
  for (const Row& row :
       {Row{2, 1.069315, 1.143434, 20221.2617, 1.040833}, Row{4, 1.138629, 1.296477, 40889.9424, 1.080123},
        Row{8, 1.207944, 1.459129, 82684.6226, 1.118034}, Row{16, 1.277259, 1.631390, 167198.7392, 1.154701},
        Row{32, 1.346574, 1.813260, 338096.9460, 1.190238}}) {
    CAPTURE(row.s);
    const auto with_factor = [&](const std::string& keys) {
      return make_scheme(fmt::format("{{{}, factor: {}}}", keys, row.s))->table(llama2_geometry(), 4096);
    };
    const double attention = with_factor("type: yarn").attention_factor;
    CHECK(attention == Approx(row.mscale).margin(1e-6));
    CHECK(attention * attention == Approx(row.squared).margin(1e-6));
    CHECK(ntk_base(128, 1e4, row.s) == Approx(row.base).margin(6e-5));
    CHECK(base_of(with_factor("type: ntk")) == Approx(row.base).epsilon(1e-9));
    CHECK(with_factor("type: longrope, long_factor: [1]").attention_factor == Approx(row.longrope).margin(1e-6));
  }
}

TEST_CASE("the share of each pair's frequency matches the golden numbers at factor 8") {
  struct Row {
    std::size_t pair;
    double index, rotations, ntk;
  };
  for (const Row& row :
       {Row{21, .966346, .992812, .500000}, Row{24, .865385, .678645, .452862}, Row{28, .730769, .423984, .396850},
        Row{32, .596154, .280778, .347766}, Row{36, .461538, .200247, .304753}, Row{40, .326923, .154961, .267060},
        Row{45, .158654, .125109, .226431}, Row{63, .125, .125, .125}}) {
    CAPTURE(row.pair);
    CHECK(ratio("{type: yarn, factor: 8}", row.pair) == Approx(row.index).margin(1e-6));
    CHECK(ratio("{type: ntk_by_parts, factor: 8}", row.pair) == Approx(row.index).margin(1e-6));
    CHECK(ratio("{type: yarn, factor: 8, ramp: rotations}", row.pair) == Approx(row.rotations).margin(1e-6));
    CHECK(ratio("{type: ntk, factor: 8}", row.pair) == Approx(row.ntk).margin(1e-6));
  }
}

TEST_CASE("the share of each pair's frequency matches the golden numbers at factor 16") {
  struct Row {
    std::size_t pair;
    double index, rotations, ntk;
  };
  for (const Row& row : {Row{24, .855769, .655691, .347766}, Row{32, .567308, .229405, .244559},
                         Row{40, .278846, .094601, .171981}, Row{46, .0625, .0625, .132069}}) {
    CAPTURE(row.pair);
    CHECK(ratio("{type: yarn, factor: 16}", row.pair) == Approx(row.index).margin(1e-6));
    CHECK(ratio("{type: yarn, factor: 16, ramp: rotations}", row.pair) == Approx(row.rotations).margin(1e-6));
    CHECK(ratio("{type: ntk, factor: 16}", row.pair) == Approx(row.ntk).margin(1e-6));
  }
}

TEST_CASE("both ramps keep pairs 0..20 of Llama-2 and divide pairs 46..63") {
  for (const std::string ramp : {"index", "rotations"}) {
    const std::string yaml = fmt::format("{{type: yarn, factor: 8, ramp: {}}}", ramp);
    for (std::size_t pair = 0; pair <= 20; ++pair) CHECK(ratio(yaml, pair) == 1.0);
    CHECK(ratio(yaml, 21) < 1.0);
    CHECK(ratio(yaml, 45) > 0.125);
    for (std::size_t pair = 46; pair < 64; ++pair) CHECK(ratio(yaml, pair) == Approx(0.125).epsilon(1e-15));
  }
}

TEST_CASE("dynamic NTK's base by length and factor matches the golden numbers") {
  struct Row {
    int factor;
    int64_t length;
    double base;
  };
  for (const Row& row : {Row{1, 8192, 20221.262}, Row{1, 16384, 40889.942}, Row{1, 32768, 82684.623},
                         Row{2, 8192, 30527.737}, Row{2, 16384, 72195.860}, Row{2, 32768, 156588.323},
                         Row{4, 8192, 51293.787}, Row{4, 16384, 135401.973}, Row{4, 32768, 305921.968}}) {
    CAPTURE(row.factor, row.length);
    const auto scheme = make_scheme(fmt::format("{{type: dynamic_ntk, factor: {}}}", row.factor));
    CHECK(base_of(scheme->table(llama2_geometry(), row.length)) == Approx(row.base).margin(6e-4));
  }
}

TEST_CASE("llama3's ratios match the golden numbers") {
  const RopeGeometry geometry = llama3_geometry();
  const auto scheme = make_scheme("{type: llama3, factor: 8, low_freq_factor: 1, high_freq_factor: 4}");
  const std::vector<double> scaled = scheme->table(geometry, 8192).inv_freq;
  const std::vector<double> plain = base_frequencies(geometry.rotary_dim, geometry.theta);
  const std::vector<double> blended = {.828168, .643743, .493507, .371122, .271425, .190211};
  for (std::size_t pair = 0; pair <= 28; ++pair) CHECK(scaled[pair] == plain[pair]);
  for (std::size_t i = 0; i < blended.size(); ++i)
    CHECK(scaled[29 + i] / plain[29 + i] == Approx(blended[i]).margin(1e-6));
  for (std::size_t pair = 35; pair < 64; ++pair) CHECK(scaled[pair] / plain[pair] == Approx(0.125).epsilon(1e-15));
}
