// The diagnostic logit_noise against logits written out as [T, T].
#include <ATen/ATen.h>

#include <cmath>

#include "support/catch.h"
#include "support/errors.h"
#include "support/table.h"

namespace qroar {
namespace {

const char* const kRules = "[{match: 'layers.*', weight: {type: rtn, bits: 4, group: 32}}]";

/// Logits [H, T, T] of every layer of one model on its own hidden states, before the mask.
std::vector<at::Tensor> naive_logits(const DiagnosedCell& cell, const Llama& model, const at::Tensor& tokens_T) {
  const LlamaConfig& config = model.config;
  const ops::RopeAngles angles = cell.angles_of(tokens_T.size(0));
  at::Tensor x_TD = at::embedding(model.embed_tokens_VD, tokens_T);
  std::vector<at::Tensor> found;
  for (const DecoderLayer& layer : model.layers) {
    const at::Tensor normed_TD = ops::reference::rms_norm(x_TD, layer.input_norm_D, config.rms_norm_eps);
    at::Tensor q_THd = layer.heads.query(at::linear(normed_TD, layer.q_proj.weight_OI).view({-1, 4, 16}));
    at::Tensor k_TKd = at::linear(normed_TD, layer.k_proj.weight_OI).view({-1, 2, 16});
    ops::reference::rope_(q_THd, angles);
    ops::reference::rope_(k_TKd, angles);
    const at::Tensor k_THd = layer.heads.key(k_TKd).repeat_interleave(2, 1);
    found.push_back(at::einsum("mhd,nhd->hmn", {q_THd, k_THd}) / 4);
    decoder_layer(layer, config, x_TD, angles);
  }
  return found;
}

/// Pairs, noise and magnitude of the pairs of a mask [T, T], over some layers.
std::array<double, 3> naive(const std::vector<at::Tensor>& full, const std::vector<at::Tensor>& model,
                            const at::Tensor& mask_TT) {
  std::array<double, 3> sums{};
  for (std::size_t i = 0; i < full.size(); ++i) {
    sums[0] += 4 * mask_TT.sum().item<double>();
    sums[1] += ((model[i] - full[i]).abs() * mask_TT).sum().item<double>();
    sums[2] += (full[i].abs() * mask_TT).sum().item<double>();
  }
  return {sums[0], sums[1] / sums[0], sums[2] / sums[0]};
}

void check_row(const Row& row, const std::array<double, 3>& expected) {
  CHECK(std::stod(row.at("pairs")) == expected[0]);
  CHECK(std::stod(row.at("noise")) == Approx(expected[1]).epsilon(1e-8));  // nine digits in the table
  CHECK(std::stod(row.at("magnitude")) == Approx(expected[2]).epsilon(1e-8));
}

}  // namespace

TEST_CASE("where nothing is quantized the logits have no noise") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Table table = table_of(DiagnosedCell("[]", dtype), "{type: logit_noise}");
    // Distances 0, 1, 2-3, ..., 32-63 and positions 0-2, ..., 39-41 (14 of the 16 parts begin below 40); 2 layers, all.
    CHECK(table.size() == 3 * (7 + 14));
    for (const Row& row : table) {
      CHECK(row.at("noise") == "0");
      CHECK(std::stod(row.at("magnitude")) > 0);
    }
  }
}

TEST_CASE("the noise of every bin is that of logits written out, by distance and by position, per layer and over all") {
  DiagnosedCell cell(kRules, at::kDouble);
  for (DecoderLayer& layer : cell.model.layers) {  // a cache and a query that round, too
    const Transform coarse{[](const at::Tensor& x) { return at::round(x * 4) / 4; }, false};
    layer.heads.key = coarse;
  }
  const Table table = table_of(cell, "{type: logit_noise, queries: 0}");
  const at::Tensor tokens_T = cell.input().tokens_T(cell.windows[0]);
  const auto full = naive_logits(cell, cell.full, tokens_T), model = naive_logits(cell, cell.model, tokens_T);
  const at::Tensor position_T = at::arange(40), distance_TT = position_T.unsqueeze(1) - position_T;
  int rows = 0;
  for (const Row& row : table) {
    const int64_t begin = std::stoll(row.at("begin")), end = std::stoll(row.at("end"));
    const at::Tensor by_TT = row.at("by") == "distance" ? distance_TT : position_T.unsqueeze(1).expand({40, 40});
    const at::Tensor mask_TT = (by_TT >= begin) * (by_TT < end) * (distance_TT >= 0);
    const std::string& layer = row.at("layer");
    if (layer.empty()) {
      check_row(row, naive(full, model, mask_TT));
    } else {
      const std::size_t i = std::stoul(layer);
      check_row(row, naive({full[i]}, {model[i]}, mask_TT));
    }
    ++rows;
  }
  CHECK(rows == 3 * (7 + 14));
  CHECK(std::stod(first_row(table, {{"layer", "1"}, {"by", "distance"}}).at("noise")) > 0.01);
}

TEST_CASE("queries takes evenly spread positions, the last among them, and windows are added up") {
  const DiagnosedCell cell(kRules, at::kDouble);
  const Table table = table_of(cell, "{type: logit_noise, queries: 4, windows: 2}");
  std::vector<std::array<double, 3>> parts;
  for (const std::size_t window : {0U, 1U}) {
    const at::Tensor tokens_T = cell.input().tokens_T(cell.windows[window]);
    const auto full = naive_logits(cell, cell.full, tokens_T), model = naive_logits(cell, cell.model, tokens_T);
    const int64_t T = tokens_T.size(0);
    at::Tensor mask_TT = at::zeros({T, T});
    // Of 40: 9, 19, 29, 39; of 31: 31/4 - 1 = 6, 14, 22, 30.  Those at distances 4 to 7.
    for (const int64_t m : {10 * T / 40, 2 * T / 4, 3 * T / 4, T}) {
      const int64_t position = (m == 10 * T / 40 ? T / 4 : m) - 1;
      for (int64_t n = std::max<int64_t>(0, position - 7); n <= position - 4; ++n) mask_TT[position][n] = 1;
    }
    parts.push_back(naive(full, model, mask_TT));
  }
  const double pairs = parts[0][0] + parts[1][0];
  const auto mean = [&](std::size_t i) { return (parts[0][0] * parts[0][i] + parts[1][0] * parts[1][i]) / pairs; };
  check_row(first_row(table, {{"layer", ""}, {"by", "distance"}, {"begin", "4"}}), {pairs, mean(1), mean(2)});
}

TEST_CASE("logit_noise does not change with the rows of a block, and its options are checked") {
  // 40 queries come in two blocks of rows; the last alone in one.
  const DiagnosedCell cell(kRules, at::kDouble);
  const Table all = table_of(cell, "{type: logit_noise, queries: 0}"),
              one = table_of(cell, "{type: logit_noise, queries: 1}");
  const Row last = first_row(one, {{"layer", "1"}, {"by", "position"}});
  CHECK(last.at("pairs") == "160");
  CHECK(last.at("begin") == "39");
  CHECK(std::stod(first_row(all, {{"layer", "1"}, {"begin", "39"}}).at("noise")) ==
        Approx(std::stod(last.at("noise"))).epsilon(1e-8));
  CHECK(contains(error_text([&] { diagnose(cell, "{type: logit_noise, queries: -1}"); }), "queries"));
  CHECK(contains(error_text([&] { diagnose(cell, "{type: logit_noise, querys: 1}"); }), "did you mean 'queries'"));
}

}  // namespace qroar
