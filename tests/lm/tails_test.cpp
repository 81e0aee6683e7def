// Quantiles, the same tokens in long and short context, tail inflation and ratios, outlier counts, against direct
// computation.
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

TEST_CASE(
    "magnitude_quantiles gives the smallest magnitude that a fraction p does not exceed, in any dtype and shape") {
  at::manual_seed(1);
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    const at::Tensor x = at::randn({5000}, at::kDouble).pow(3).to(dtype).view({-1, 2, 50}).transpose(0, 1);
    const std::vector<double> ps = {1e-9, 0.01, 0.5, 0.99, 0.999, 1.0}, found = magnitude_quantiles(x, ps);
    for (std::size_t i = 0; i < ps.size(); ++i) CHECK(found[i] == exact_quantile(x, ps[i]));
  }
  CHECK(magnitude_quantiles(at::tensor({0.0F, -3.0F, 1.0F, HUGE_VALF}), {0.5, 0.51, 0.75, 1}) ==
        std::vector<double>{1, 3, 3, HUGE_VAL});
  CHECK_THROWS_AS(magnitude_quantiles(at::empty({0}), {0.5}), InternalError);
}

TEST_CASE("a logarithm of tails' ratio has a floor under both and is 0 for two zeros") {
  CHECK(log_tail_ratio(3, 2) == Approx(std::log(1.5)));
  CHECK(log_tail_ratio(0, 0) == 0);
  CHECK(log_tail_ratio(1, 0) == Approx(126 * std::log(2)));
  CHECK(log_tail_ratio(0, 1) == -log_tail_ratio(1, 0));
}

TEST_CASE("short contexts are the pieces run alone, and hold the tokens of the long one but for those at position 0") {
  for (const Bos bos : {Bos::every, Bos::replace, Bos::none, Bos::start}) {
    DiagnosedCell cell("[]", at::kDouble);
    cell.geometry.trained_length = 8;
    cell.scheme = make_scheme("{type: dynamic_ntk}");  // whose angles follow the length
    const Feed feed{bos, false};
    const bool has_bos = bos == Bos::every || bos == Bos::replace;
    const at::Tensor tokens_T =
        window_tokens(cell.documents[0], {0, 0, bos == Bos::every ? 39 : 40, 0}, feed, cell.model);
    REQUIRE(tokens_T.size(0) == 40);
    const MatchedContexts contexts(tokens_T, feed, 12, cell.angles_of);
    // Pieces of 12 tokens; with BOS in front of each, of 11 and BOS.
    CHECK(contexts.counted() == (has_bos ? 39 : 36));
    std::map<HeadsPlace, at::Tensor> in_short, in_long;
    contexts.visit_short(cell.model, [&](const HeadsPlace& place, const at::Tensor& x) { in_short[place] = x; });
    contexts.visit_long(cell.model, [&](const HeadsPlace& place, const at::Tensor& x) { in_long[place] = x; });
    std::map<HeadsPlace, std::vector<at::Tensor>> alone, whole;
    visit_heads(cell.model, tokens_T, cell.angles_of(40), [&](const HeadsPlace& place, const at::Tensor& x) {
      for (int64_t begin = has_bos ? 1 : 0; begin < 40; begin += has_bos ? 11 : 12) {
        whole[place].push_back(x.slice(0, has_bos ? begin : begin + 1, begin + (has_bos ? 11 : 12)).clone());
      }
    });
    for (int64_t begin = has_bos ? 1 : 0; begin < 40; begin += has_bos ? 11 : 12) {
      const at::Tensor own = tokens_T.slice(0, begin, begin + (has_bos ? 11 : 12));
      const at::Tensor piece = has_bos ? at::cat({tokens_T.slice(0, 0, 1), own}) : own;
      visit_heads(cell.model, piece, cell.angles_of(12).slice(0, piece.size(0)),
                  [&](const HeadsPlace& place, const at::Tensor& x) { alone[place].push_back(x.slice(0, 1).clone()); });
    }
    REQUIRE(in_short.size() == 2 * 2 * 2);
    for (const auto& [place, x] : in_short) {
      CAPTURE(place.layer, place.is_key, place.after_rope);
      CHECK((x - at::cat(alone[place])).abs().max().item<double>() < 1e-12);
      CHECK((in_long[place] - at::cat(whole[place])).abs().max().item<double>() < 1e-12);
      const bool same_context = place.layer == 0 && !place.after_rope;
      CHECK(at::equal(x, in_long[place]) == same_context);
    }
  }
}

TEST_CASE("layer 0 before RoPE has no inflation, bit for bit, in any dtype, with rounded inputs and caches") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const char* rules :
         {"[]",
          "[{match: 'layers.*', weight: {type: rtn, bits: 4, group: 32}, input: {type: rtn, bits: 8, group: 0}}]"}) {
      DiagnosedCell cell(rules, dtype);
      const Transform coarse{[](const at::Tensor& x) { return at::round(x * 4) / 4; }, false};
      for (DecoderLayer& layer : cell.model.layers) {
        layer.heads.key = coarse;
        layer.heads.value = coarse;
        layer.heads.residual = 3;
      }
      int higher = 0;
      for (const Row& row : table_of(cell, "{type: tail_inflation, short: 9, bands: 4}")) {
        if (row.at("layer") == "0") CHECK(row.at("tir_w") == "1");
        if (row.at("layer") == "1" && row.at("tir_w") != "1") ++higher;
      }
      CHECK(higher > 0);
    }
  }
}

TEST_CASE("tail inflation is that of each window's exact quantiles, with intervals over documents") {
  DiagnosedCell cell("[{match: 'layers.*', weight: {type: rtn, bits: 3, group: 32}}]");
  for (std::size_t d = 2; d < 5; ++d) {
    cell.documents.push_back(cell.documents[d % 2]);
    cell.documents.back().id += std::to_string(d);
    std::ranges::rotate(cell.documents[d].tokens, cell.documents[d].tokens.begin() + 7 * static_cast<int64_t>(d));
  }
  cell.windows = {{0, 0, 39, 39}, {0, 0, 9, 9}, {1, 0, 30, 30}, {2, 0, 39, 39}, {3, 0, 39, 39}, {4, 0, 35, 35}};
  const Table table = table_of(cell, "{type: tail_inflation, short: 10, bands: 4}");
  REQUIRE(table.size() == 2 * 2 * 4 * 2);
  const Row own = first_row(table, {{"layer", "1"}, {"site", "k_proj"}, {"band", "2"}, {"p", "0.99"}});
  // The window of ten tokens is no longer than a short context, and is left out.
  CHECK(own.at("documents") == "5");
  CHECK(own.at("count") == std::to_string((39 + 30 + 39 + 39 + 35) * 2 * 4));
  std::vector<ClusterSums> log_ratios, above;
  int64_t short_above = 0, long_above = 0;
  for (const std::size_t w : {0U, 2U, 3U, 4U, 5U}) {
    const MatchedContexts contexts(cell.input().tokens_T(cell.windows[w]), cell.feed, 10, cell.angles_of);
    std::map<HeadsPlace, at::Tensor> in_short, in_long;
    contexts.visit_short(cell.model,
                         [&](const HeadsPlace& place, const at::Tensor& x) { in_short[place] = band_of(x, 4, 6); });
    contexts.visit_long(cell.model,
                        [&](const HeadsPlace& place, const at::Tensor& x) { in_long[place] = band_of(x, 4, 6); });
    const HeadsPlace before{1, true, false}, after{1, true, true};
    const auto weight = static_cast<double>(contexts.counted());
    log_ratios.push_back(
        {weight, {weight * std::log(exact_quantile(in_long[before], 0.99) / exact_quantile(in_short[before], 0.99))}});
    const double clip = exact_quantile(in_short[after], 0.99);
    const auto in_s = (in_short[after].abs() > clip).sum().item<int64_t>(),
               in_l = (in_long[after].abs() > clip).sum().item<int64_t>();
    above.push_back({static_cast<double>(std::max<int64_t>(1, in_s)), {static_cast<double>(in_l)}});
    short_above += in_s;
    long_above += in_l;
  }
  CHECK(std::stod(own.at("tir_w")) == Approx(std::exp(estimate(log_ratios).value)).epsilon(1e-8));
  CHECK(std::stod(own.at("tir_w_low")) == Approx(std::exp(estimate(log_ratios).low())).epsilon(1e-8));
  CHECK(std::stod(own.at("tir_w_high")) == Approx(std::exp(estimate(log_ratios).high())).epsilon(1e-8));
  CHECK(std::stod(own.at("tir_a")) == Approx(estimate(above).value).epsilon(1e-8));
  CHECK(std::stod(own.at("tir_a_high")) == Approx(estimate(above).high()).epsilon(1e-8));
  CHECK(own.at("short_above") == std::to_string(short_above));
  CHECK(own.at("long_above") == std::to_string(long_above));
  CHECK(std::stod(own.at("tir_w")) ==
        Approx(std::stod(own.at("long_quantile")) / std::stod(own.at("short_quantile"))).epsilon(1e-8));

  const Table full = table_of(cell, "{type: tail_inflation, short: 10, bands: 4, of: full}");
  CHECK(full != table);
  // Three documents have no interval.
  CHECK(first_row(table_of(cell, "{type: tail_inflation, short: 10, windows: 3}"), {{"p", "0.99"}})
            .at("tir_w_low")
            .empty());
}

TEST_CASE("a value that grows with the position is found after RoPE") {
  // The angles' cos and sin are multiplied by 3 from position 20 on: values beyond the clip of short contexts.
  DiagnosedCell cell("[]", at::kDouble);
  const AnglesOf plain = cell.angles_of;
  cell.angles_of = [plain](int64_t length) {
    ops::RopeAngles angles = plain(length);
    angles.cos_TP.slice(0, 20).mul_(3);
    angles.sin_TP.slice(0, 20).mul_(3);
    return angles;
  };
  for (const Row& row : table_of(cell, "{type: tail_inflation, short: 20, bands: 2}")) {
    if (row.at("layer") == "0") CHECK(std::stod(row.at("tir_a")) > 10);
    if (row.at("layer") == "0") CHECK(row.at("tir_w") == "1");
  }
}

TEST_CASE("tail_inflation's short contexts must be shorter than the cell's windows") {
  DiagnosedCell cell("[]");
  const std::string yaml = "{type: tail_inflation, short: ";
  CHECK(error_text([&] { diagnose(cell, yaml + "40}"); }) ==
        "test.yaml:1:1: short contexts of 40 tokens are no shorter than the cell's of 40; take `short: 20` or less");
  CHECK(error_text([&] { diagnose(cell, yaml + "39}"); }) == "(no error)");
  CHECK(contains(error_text([&] { diagnose(cell, "{type: tail_inflation}"); }), "short contexts of 512 tokens"));
  CHECK(contains(error_text([&] { diagnose(cell, yaml + "16, bands: 9}"); }), "9 bands need as many RoPE pairs"));
  cell.windows = {{0, 0, 19, 19}};
  CHECK(
      contains(error_text([&] { diagnose(cell, yaml + "20}"); }), "no window of the cell has more than the 20 tokens"));
}

TEST_CASE("windows are taken document by document, so that there are as many documents as can be") {
  DiagnosedCell cell("[]");
  cell.windows = {{0, 0, 39, 39}, {0, 10, 39, 39}, {0, 20, 39, 39}, {1, 0, 30, 30}, {1, 5, 8, 8}};
  const auto begins = [&](const std::vector<Window>& windows) {
    std::vector<std::pair<int64_t, int64_t>> found;
    for (const Window& window : windows) found.emplace_back(window.document, window.begin);
    return found;
  };
  using Places = std::vector<std::pair<int64_t, int64_t>>;
  CHECK(begins(cell.input().spread_windows(3)) == Places{{0, 0}, {1, 0}, {0, 10}});
  CHECK(begins(cell.input().spread_windows(9, 5)) == Places{{0, 0}, {1, 0}, {0, 10}, {0, 20}});
  // Pieces of one book are one cluster.
  CHECK(cell.input().cluster_of(cell.windows[3]) == 1);
  for (Document& document : cell.documents) document.group = "book";
  CHECK(cell.input().cluster_of(cell.windows[3]) == cell.input().cluster_of(cell.windows[0]));
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
    CHECK(std::stod(own.at("q50")) == Approx(exact_quantile(x, 0.5)).epsilon(1e-8));
    CHECK(std::stod(own.at("ratio_999")) == Approx(exact_quantile(x, 0.999) / exact_quantile(x, 0.5)).epsilon(1e-8));
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
  config.qkv_bias = config.o_bias = true;
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
