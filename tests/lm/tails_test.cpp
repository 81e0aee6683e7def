// Quantiles by histogram, tail-inflation and tail ratios, and outlier counts, against direct computation.
#include "diagnostics/tails.h"

#include <ATen/ATen.h>

#include <cmath>

#include "support/catch.h"
#include "support/diagnostic.h"
#include "support/errors.h"
#include "support/table.h"

namespace qroar {
namespace {

/// The smallest value which a fraction p of all do not exceed.
double exact_quantile(const at::Tensor& x, double p) {
  const at::Tensor sorted = std::get<0>(x.abs().to(at::kDouble).flatten().sort());
  const auto rank = static_cast<int64_t>(std::ceil(p * static_cast<double>(sorted.numel())));
  return sorted[std::max(int64_t{1}, rank) - 1].item<double>();
}

/// One window of `count` tokens, drawn out of [low, high).
at::Tensor tokens(int64_t count, int64_t low, int64_t high) { return at::randint(low, high, {count}, at::kLong); }

/// The queries [T, H, d] of the first layer by hand, before RoPE.
at::Tensor first_queries(const DiagnosedCell& cell, std::size_t window) {
  const LlamaConfig& config = cell.full.config;
  const DecoderLayer& layer = cell.model.layers[0];
  const at::Tensor tokens_T = cell.input().tokens_T(cell.windows[window]);
  const at::Tensor x_TD = ops::reference::rms_norm(at::embedding(cell.model.embed_tokens_VD, tokens_T),
                                                   layer.input_norm_D, config.rms_norm_eps);
  return at::linear(x_TD, layer.q_proj.weight_OI, layer.q_proj.bias_O).view({-1, config.num_attention_heads, 16});
}

}  // namespace

TEST_CASE("a histogram's quantiles are within 2^-8 of the exact ones, for light and heavy tails, in any dtype") {
  at::manual_seed(1);
  const at::Tensor normal = at::randn({5000}, at::kDouble);
  for (const at::Tensor& values :
       {normal, at::exp(4 * normal), at::randn({5000}, at::kDouble).pow(9), 1e-20 * normal}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
      const at::Tensor x = values.to(dtype);
      MagnitudeHistogram histogram;
      for (const at::Tensor& part : x.split(700)) histogram.add(part.view({-1, 2, 50}));
      CHECK(histogram.count() == 5000);
      for (const double p : {1e-9, 0.01, 0.5, 0.99, 0.999, 1.0}) {
        CAPTURE(p);
        // float64 is rounded to float32 first: 2^-24 more.
        const double exact = exact_quantile(x, p), bound = std::exp2(-8) + std::exp2(-24);
        CHECK(std::abs(histogram.quantile(p) - exact) <= bound * exact);
      }
    }
  }
}

TEST_CASE("a histogram counts what is above the end of a value's bin, and takes zeros and infinities") {
  MagnitudeHistogram histogram;
  histogram.add(at::tensor({0.0F, -0.0F, 1.0F, -1.005F, 1.01F, -3.0F, HUGE_VALF, 0.0F}));
  CHECK(histogram.count_above(1.0) == 3);  // 1.005 shares the bin [1, 1 + 1/128) with 1
  CHECK(histogram.fraction_above(0) == 5.0 / 8);
  CHECK(histogram.quantile(0.3) == 0);
  CHECK(histogram.quantile(0.4) == 1 + 1.0 / 256);  // the fourth of eight: 3.2 rounds up
  CHECK(histogram.quantile(0.5) == 1 + 1.0 / 256);
  CHECK(MagnitudeHistogram().count() == 0);
  CHECK_THROWS_AS(MagnitudeHistogram().quantile(0.5), InternalError);
}

TEST_CASE("a ratio of tails has a floor under its denominator and is 1 for two zeros") {
  CHECK(tail_ratio(3, 2) == 1.5);
  CHECK(tail_ratio(0, 0) == 1);
  CHECK(tail_ratio(0, 2) == 0);
  CHECK(tail_ratio(1, 0) == std::exp2(126));
}

TEST_CASE("windows that are the same long and short have no inflation") {
  const DiagnosedCell cell("[]");
  const std::vector<at::Tensor> windows = {cell.input().tokens_T(cell.windows[0])};
  const auto found = tail_inflation(cell.model, cell.angles_of, windows, windows, {0, 3, 8}, {0.9, 0.99});
  REQUIRE(found.size() == 2 * 2 * 2 * 2);
  for (const TailInflation& tail : found) {
    CHECK(tail.short_count == 40 * (tail.is_key ? 2 : 4) * 2 * (tail.band == 0 ? 3 : 5));
    CHECK(tail.long_count == tail.short_count);
    CHECK(tail.weight_ratio == 1);
    CHECK(tail.short_above == tail.long_above);
    CHECK(tail.activation_ratio <= 1);
    if (tail.p == 0.9) CHECK(tail.activation_ratio == 1);
  }
}

TEST_CASE("a band whose inputs grow is found, in TIR_W as the factor and in TIR_A as values beyond the clip") {
  // Hidden channel 0 alone feeds band 1 of the queries and is 4 times as large in tokens 25..49, which are otherwise
  // tokens 0..24.  All other channels are +-1: the norm grows by sqrt((63 + 1.6^2) / (63 + 0.4^2)) only.
  DiagnosedCell cell("[]", at::kDouble);
  Llama model = cell.model;
  model.layers.resize(1);
  model.layers[0].input_norm_D.fill_(1);
  at::Tensor signs = at::sign(model.embed_tokens_VD);
  signs.slice(0, 25, 50).copy_(signs.slice(0, 0, 25));
  signs.slice(0, 0, 25).select(1, 0).fill_(0.4);
  signs.slice(0, 25, 50).select(1, 0).fill_(1.6);
  model.embed_tokens_VD = signs;
  at::Tensor rows = model.layers[0].q_proj.weight_OI.view({4, 2, 8, 64});
  rows.select(3, 0).zero_();
  rows.slice(2, 4, 8).zero_();
  rows.slice(2, 4, 8).select(3, 0).fill_(1);
  at::manual_seed(3);
  const at::Tensor short_T = tokens(400, 0, 25), long_T = tokens(800, 25, 50);
  const auto found = tail_inflation(model, cell.angles_of, {short_T}, {long_T}, {0, 4, 8}, {0.99});
  REQUIRE(found.size() == 4);
  const double shrunk = std::sqrt((63 + 0.4 * 0.4) / (63 + 1.6 * 1.6));
  const double both_bins = 2.1 * std::exp2(-8);
  CHECK(found[1].weight_ratio == Approx(4 * shrunk).epsilon(both_bins));
  CHECK(found[1].short_above <= 0.01 * 400 * 4 * 8);
  CHECK(found[1].activation_ratio > 20);
  CHECK(found[0].weight_ratio == Approx(shrunk).epsilon(0.02));  // another sample of the same tokens
  CHECK(found[0].activation_ratio < 1.5);
}

TEST_CASE("TIR_A never divides by less than one value") {
  DiagnosedCell cell("[]", at::kDouble);
  const at::Tensor one_T = tokens(4, 7, 8), many_T = tokens(40, 0, 50);
  for (const TailInflation& tail : tail_inflation(cell.model, cell.angles_of, {one_T}, {many_T}, {0, 8}, {0.999})) {
    CHECK(tail.short_above == 0);  // the quantile is the largest value
    const double fraction = static_cast<double>(tail.long_above) / static_cast<double>(tail.long_count);
    CHECK(tail.activation_ratio == Approx(fraction * static_cast<double>(tail.short_count)));
  }
}

TEST_CASE("tail_inflation takes the documents' first tokens as short windows, of either model") {
  const DiagnosedCell cell("[{match: 'layers.*', weight: {type: rtn, bits: 3, group: 32}}]");
  const Table table = table_of(cell, "{type: tail_inflation, short: 10, windows: 9, bands: 4}");
  REQUIRE(table.size() == 2 * 2 * 4 * 2);
  const auto own = first_row(table, {{"site", "q_proj"}, {"band", "2"}, {"p", "0.999"}});
  CHECK(own.at("short_count") == std::to_string(2 * 10 * 4 * 2 * 2));
  CHECK(own.at("long_count") == std::to_string((40 + 31) * 4 * 2 * 2));
  std::vector<at::Tensor> beginnings;
  for (std::size_t window = 0; window < 2; ++window) {
    beginnings.push_back(band_of(first_queries(cell, window).slice(0, 0, 10), 4, 6).flatten());
  }
  CHECK(std::stod(own.at("short_quantile")) ==
        Approx(exact_quantile(at::cat(beginnings), 0.999)).epsilon(std::exp2(-8)));
  const Table full = table_of(cell, "{type: tail_inflation, short: 10, windows: 9, bands: 4, of: full}");
  CHECK(full != table);
  CHECK(full == table_of(DiagnosedCell("[]"), "{type: tail_inflation, short: 10, windows: 9, bands: 4}"));
}

TEST_CASE("tail_inflation's short windows must be shorter than the cell's, of 40 tokens here") {
  const DiagnosedCell cell("[]");
  const std::string yaml = "{type: tail_inflation, short: ";
  CHECK(error_text([&] { diagnose(cell, yaml + "40}"); }) ==
        "test.yaml:1:1: short windows of 40 tokens are no shorter than the cell's of 40; take `short: 20` or less");
  CHECK(error_text([&] { diagnose(cell, yaml + "39}"); }) == "(no error)");
  CHECK(contains(error_text([&] { diagnose(cell, "{type: tail_inflation}"); }), "short windows of 512 tokens"));
  CHECK(contains(error_text([&] { diagnose(cell, yaml + "16, bands: 9}"); }), "9 bands need as many RoPE pairs"));
}

TEST_CASE("tail ratios are upper quantiles over the median, before and after RoPE") {
  const DiagnosedCell cell("[]");
  const Table table = table_of(cell, "{type: tail_ratios, windows: 1, bands: 4}");
  REQUIRE(table.size() == 2 * 2 * 2 * 4);
  at::Tensor q_THd = first_queries(cell, 0);
  for (const char* rope : {"before", "after"}) {
    const auto own = first_row(table, {{"site", "q_proj"}, {"band", "1"}, {"rope", rope}});
    const at::Tensor x = band_of(q_THd, 2, 4);
    CHECK(own.at("count") == std::to_string(40 * 4 * 4));
    CHECK(std::stod(own.at("q50")) == Approx(exact_quantile(x, 0.5)).epsilon(std::exp2(-8)));
    CHECK(std::stod(own.at("ratio_999")) ==
          Approx(exact_quantile(x, 0.999) / exact_quantile(x, 0.5)).epsilon(2.1 * std::exp2(-8)));
    CHECK(std::stod(own.at("ratio_99")) == Approx(std::stod(own.at("q99")) / std::stod(own.at("q50"))));
    ops::reference::rope_(q_THd, cell.angles_of(40));
  }
}

TEST_CASE("outliers are values beyond 6 standard deviations of their channel: those of one odd token") {
  // One of 100 tokens has a query projection that all its fellows lack: it lies sqrt(99) deviations away.
  DiagnosedCell cell("[]");
  at::Tensor embeddings = cell.model.embed_tokens_VD = cell.full.embed_tokens_VD = at::zeros({50, 64});
  embeddings.fill_(1);
  embeddings[7].slice(0, 0, 32).fill_(-1);
  std::vector<int32_t>& tokens = cell.documents[0].tokens;
  tokens.assign(99, 3);
  tokens[50] = 7;
  cell.windows = {{0, 0, 99, 99}};
  const Table table = table_of(cell, "{type: outlier_counts, bands: 2}");
  REQUIRE(table.size() == 2 * 2 * 2 * 2);
  for (const char* site : {"q_proj", "k_proj"}) {
    const int heads = site[0] == 'q' ? 4 : 2;
    for (const char* band : {"0", "1"}) {
      const auto before = first_row(table, {{"site", site}, {"band", band}, {"rope", "before"}});
      CHECK(before.at("count") == std::to_string(100 * heads * 8));
      CHECK(before.at("outliers") == std::to_string(heads * 8));
      CHECK(std::stod(before.at("fraction")) == Approx(0.01));
    }
  }
}

TEST_CASE("outlier counts are those of a direct count over all windows, and a constant channel has none") {
  LlamaConfig config = small_llama_config();
  config.attention_bias = true;
  DiagnosedCell cell("[{match: 'layers.*', weight: {type: rtn, bits: 3, group: 32}}]", at::kFloat, config);
  at::Tensor heavy = at::randn({50, 64}).pow(3);
  heavy[9] *= 1e4;
  cell.model.embed_tokens_VD = heavy;
  cell.model.layers[0].q_proj.weight_OI = at::randn({64, 64}).pow(7);
  cell.model.layers[0].q_proj.weight_OI[16 + 5].zero_();  // its bias is left
  std::mt19937 random(8);
  for (Document& document : cell.documents) {
    document.tokens.assign(600, 0);
    for (int32_t& token : document.tokens) token = static_cast<int32_t>(random() % 50);
  }
  cell.windows = {{0, 0, 600, 600}, {1, 0, 500, 500}};
  const Table table = table_of(cell, "{type: outlier_counts, bands: 4}");
  const at::Tensor x = at::cat({first_queries(cell, 0), first_queries(cell, 1)}).to(at::kDouble);
  const at::Tensor deviation = x - x.mean(0), sigma = deviation.square().mean(0).sqrt();
  at::Tensor beyond = deviation.abs() > 6 * sigma;
  beyond.select(1, 1).select(1, 5).zero_();
  int64_t total = 0;
  for (int64_t band = 0; band < 4; ++band) {
    const auto own = first_row(table, {{"site", "q_proj"}, {"band", std::to_string(band)}, {"rope", "before"}});
    const auto expected = band_of(beyond, 2 * band, 2 * band + 2).sum().item<int64_t>();
    CHECK(own.at("outliers") == std::to_string(expected));
    total += expected;
  }
  CHECK(total > 0);
}

}  // namespace qroar
