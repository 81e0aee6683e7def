// The diagnostic logit_noise against logits written out as [T, T].
#include <ATen/ATen.h>

#include <cmath>

#include "base/interval.h"
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

/// x less its mean over the keys that a query sees, and 0 for later ones: [H, T, T].
at::Tensor centred(const at::Tensor& x_HTT) {
  const at::Tensor seen_TT = at::ones_like(x_HTT[0]).tril();
  return (x_HTT - (x_HTT * seen_TT).sum(2, true) / seen_TT.sum(1, true)) * seen_TT;
}

at::Tensor attention(const at::Tensor& logits_HTT) {
  return (logits_HTT + at::full_like(logits_HTT[0], -HUGE_VAL).triu(1)).softmax(-1);
}

/// Pairs, noise, magnitude, queries, KL and moved mass of the pairs of a mask [T, T], summed over some layers.
std::array<double, 6> naive(const std::vector<at::Tensor>& full, const std::vector<at::Tensor>& model,
                            const at::Tensor& mask_TT) {
  std::array<double, 6> sums{};
  for (std::size_t i = 0; i < full.size(); ++i) {
    const at::Tensor p = attention(full[i]), p_model = attention(model[i]);
    sums[0] += 4 * mask_TT.sum().item<double>();
    sums[1] += (centred(model[i] - full[i]).abs() * mask_TT).sum().item<double>();
    sums[2] += (centred(full[i]).abs() * mask_TT).sum().item<double>();
    const at::Tensor rows_T1 = (mask_TT.sum(1, true) > 0).to(at::kDouble);
    sums[3] += 4 * rows_T1.sum().item<double>();
    sums[4] += (at::xlogy(p, p / p_model).nan_to_num() * rows_T1).sum().item<double>();
    sums[5] += ((p_model - p).abs() * mask_TT).sum().item<double>() / 2;
  }
  return sums;
}

void check_row(const Row& row, const std::array<double, 6>& sums) {
  CHECK(std::stod(row.at("pairs")) == sums[0]);
  CHECK(std::stod(row.at("noise")) == Approx(sums[1] / sums[0]).epsilon(1e-8));  // nine digits in the table
  CHECK(std::stod(row.at("magnitude")) == Approx(sums[2] / sums[0]).epsilon(1e-8));
  CHECK(std::stod(row.at("queries")) == sums[3]);
  CHECK(std::stod(row.at("moved")) == Approx(sums[5] / sums[3]).epsilon(1e-8));
  CHECK(row.at("kl").empty() == (row.at("by") == "distance"));
  if (!row.at("kl").empty()) CHECK(std::stod(row.at("kl")) == Approx(sums[4] / sums[3]).epsilon(1e-8));
}

}  // namespace

TEST_CASE("where nothing is quantized the logits have no noise") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Table table = table_of(DiagnosedCell("[]", dtype), "{type: logit_noise}");
    // Distances 0, 1, 2-3, ..., 32-63, positions 0-2, ..., 39-41 (14 of the 16 parts begin below 40), 6 bands and the
    // whole; 2 layers, all.
    CHECK(table.size() == 3 * (1 + 7 + 14 + 6));
    for (const Row& row : table) {
      for (const char* column : {"noise", "kl", "moved"}) CHECK((row.at(column).empty() || row.at(column) == "0"));
      // A query that sees one key has a centred logit of 0.
      CHECK((std::stod(row.at("magnitude")) > 0));
    }
  }
}

TEST_CASE("the noise of every bin is that of logits written out, by distance and by position, per layer and over all") {
  DiagnosedCell cell(kRules, at::kDouble);
  for (DecoderLayer& layer : cell.model.layers) {  // a cache and a query that round, too
    const Transform coarse{[](const at::Tensor& x) { return at::round(x * 4) / 4; }, false};
    layer.heads.key = coarse;
  }
  const Table table = table_of(cell, "{type: logit_noise, queries: 0, windows: 1}");
  const at::Tensor tokens_T = cell.input().tokens_T(cell.windows[0]);
  const auto full = naive_logits(cell, cell.full, tokens_T), model = naive_logits(cell, cell.model, tokens_T);
  const at::Tensor position_T = at::arange(40), distance_TT = position_T.unsqueeze(1) - position_T;
  int rows = 0;
  for (const Row& row : table) {
    if (row.at("by") == "band") continue;
    const int64_t begin = std::stoll(row.at("begin")), end = std::stoll(row.at("end"));
    const at::Tensor by_TT = row.at("by") != "position" ? distance_TT : position_T.unsqueeze(1).expand({40, 40});
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
  CHECK(rows == 3 * (1 + 7 + 14));
  CHECK(std::stod(first_row(table, {{"layer", "1"}, {"by", "distance"}}).at("noise")) > 0.01);
}

TEST_CASE("queries takes evenly spread positions, the last among them, and windows are added up") {
  const DiagnosedCell cell(kRules, at::kDouble);
  const Table table = table_of(cell, "{type: logit_noise, queries: 4, windows: 2}");
  std::array<double, 6> sums{};
  for (const std::size_t window : {0U, 1U}) {
    const at::Tensor tokens_T = cell.input().tokens_T(cell.windows[window]);
    const auto full = naive_logits(cell, cell.full, tokens_T), model = naive_logits(cell, cell.model, tokens_T);
    const int64_t T = tokens_T.size(0);
    at::Tensor mask_TT = at::zeros({T, T}, at::kDouble);
    // Of 40: 9, 19, 29, 39; of 31: 31/4 - 1 = 6, 14, 22, 30.  Those at distances 4 to 7.
    for (const int64_t m : {10 * T / 40, 2 * T / 4, 3 * T / 4, T}) {
      const int64_t position = (m == 10 * T / 40 ? T / 4 : m) - 1;
      for (int64_t n = std::max<int64_t>(0, position - 7); n <= position - 4; ++n) mask_TT[position][n] = 1;
    }
    const auto own = naive(full, model, mask_TT);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += own[i];
  }
  check_row(first_row(table, {{"layer", ""}, {"by", "distance"}, {"begin", "4"}}), sums);
}

TEST_CASE("a shift that all keys of a query share is no noise, and moves no attention") {
  // The model's keys of layer 0 are all longer by one vector, so every logit of a query moves by the same number.
  DiagnosedCell cell("[]", at::kDouble);
  at::manual_seed(2);
  const at::Tensor shift_Kd = at::randn({2, 16}, at::kDouble);
  cell.model.layers[0].heads.key = Transform{[=](const at::Tensor& x) { return x + shift_Kd; }, false};
  for (const Row& row : table_of(cell, "{type: logit_noise, queries: 0}")) {
    for (const char* column : {"noise", "kl", "moved"}) {
      if (!row.at(column).empty()) CHECK(std::stod(row.at(column)) < 1e-12);
    }
  }
}

TEST_CASE("the noise of a band is that of its part of the logits, and moves attention alone") {
  DiagnosedCell cell(kRules, at::kDouble);
  const Table table = table_of(cell, "{type: logit_noise, queries: 0, windows: 1, bands: 4}");
  const at::Tensor tokens_T = cell.input().tokens_T(cell.windows[0]);
  // Layer 0 with queries and keys of one band alone: both models' other channels are zeroed behind RoPE.
  for (int64_t band = 0; band < 4; ++band) {
    const auto only = [&](Llama model) {
      at::Tensor kept_O = at::zeros({2, 8}, at::kDouble);
      kept_O.slice(1, 2 * band, 2 * band + 2).fill_(1);
      for (Linear* linear : {&model.layers[0].q_proj, &model.layers[0].k_proj}) {
        linear->weight_OI = linear->weight_OI * kept_O.flatten().repeat({linear->weight_OI.size(0) / 16}).unsqueeze(1);
      }
      return naive_logits(cell, model, tokens_T)[0];
    };
    const at::Tensor full = only(cell.full), model = only(cell.model);
    const auto sums = naive({full}, {model}, at::ones({40, 40}, at::kDouble).tril());
    const Row row = first_row(table, {{"layer", "0"}, {"by", "band"}, {"begin", std::to_string(2 * band)}});
    CHECK(row.at("end") == std::to_string(2 * band + 2));
    CHECK(std::stod(row.at("pairs")) == sums[0]);
    CHECK(std::stod(row.at("noise")) == Approx(sums[1] / sums[0]).epsilon(1e-8));
    CHECK(std::stod(row.at("magnitude")) == Approx(sums[2] / sums[0]).epsilon(1e-8));
    const auto whole = naive_logits(cell, cell.full, tokens_T)[0];
    const auto alone = naive({whole}, {whole + model - full}, at::ones({40, 40}, at::kDouble).tril());
    CHECK(std::stod(row.at("queries")) == alone[3]);
    CHECK(std::stod(row.at("kl")) == Approx(alone[4] / alone[3]).epsilon(1e-8));
    CHECK(std::stod(row.at("moved")) == Approx(alone[5] / alone[3]).epsilon(1e-8));
  }
  // A rotation of the heads mixes the pairs.
  const Transform turn{[](const at::Tensor& x) { return x.flip(-1); }, false, true};
  for (Llama* one : {&cell.full, &cell.model}) one->layers[0].heads.rotate = one->layers[1].heads.rotate = turn;
  for (const Row& row : table_of(cell, "{type: logit_noise}")) CHECK(row.at("by") != "band");
}

TEST_CASE("a layer has the pairs that its own sliding window leaves") {
  LlamaConfig config = small_llama_config();
  config.layers[1].attention.sliding_window = 7;
  const DiagnosedCell cell(kRules, at::kFloat, config);
  const Table table = table_of(cell, "{type: logit_noise, queries: 0, windows: 1}");
  const int64_t T = tokens_seen(cell.windows[0], cell.feed);
  CHECK(first_row(table, {{"layer", "0"}, {"by", "all"}}).at("pairs") == std::to_string(4 * T * (T + 1) / 2));
  // 4 heads; the first 6 queries see 1 to 6 keys, the others 7.
  CHECK(first_row(table, {{"layer", "1"}, {"by", "all"}}).at("pairs") == std::to_string(4 * (21 + 7 * (T - 6))));
}

TEST_CASE("logit noise has intervals over documents") {
  DiagnosedCell cell(kRules, at::kDouble);
  for (std::size_t d = 2; d < 4; ++d) {
    cell.documents.push_back(cell.documents[d % 2]);
    cell.documents.back().id += std::to_string(cell.documents.size());
    std::ranges::rotate(cell.documents[d].tokens, cell.documents[d].tokens.begin() + 5 * static_cast<int64_t>(d));
  }
  cell.windows = {{0, 0, 39, 39}, {1, 0, 30, 30}, {2, 0, 39, 39}, {3, 0, 20, 20}};
  std::vector<ClusterSums> noise, kl;
  for (const Window& window : cell.windows) {
    const at::Tensor tokens_T = cell.input().tokens_T(window);
    const int64_t T = tokens_T.size(0);
    const auto sums = naive(naive_logits(cell, cell.full, tokens_T), naive_logits(cell, cell.model, tokens_T),
                            at::ones({T, T}, at::kDouble).tril());
    noise.push_back({sums[0], {sums[1]}});
    kl.push_back({sums[3], {sums[4]}});
  }
  const Row row = first_row(table_of(cell, "{type: logit_noise, queries: 0}"), {{"layer", ""}, {"by", "all"}});
  CHECK(row.at("documents") == "4");
  CHECK(std::stod(row.at("noise_low")) == Approx(estimate(noise).low()).epsilon(1e-7));
  CHECK(std::stod(row.at("noise_high")) == Approx(estimate(noise).high()).epsilon(1e-7));
  CHECK(std::stod(row.at("kl_high")) == Approx(estimate(kl).high()).epsilon(1e-7));
  CHECK(first_row(table_of(cell, "{type: logit_noise, windows: 3}"), {{"by", "all"}}).at("noise_low").empty());
}

TEST_CASE("logit_noise does not change with the rows of a block, and its options are checked") {
  // 40 queries come in two blocks of rows; the last alone in one.
  const DiagnosedCell cell(kRules, at::kDouble);
  const Table all = table_of(cell, "{type: logit_noise, queries: 0, windows: 1}"),
              one = table_of(cell, "{type: logit_noise, queries: 1, windows: 1}");
  const Row last = first_row(one, {{"layer", "1"}, {"by", "position"}});
  CHECK(last.at("pairs") == "160");
  CHECK(last.at("begin") == "39");
  CHECK(std::stod(first_row(all, {{"layer", "1"}, {"by", "position"}, {"begin", "39"}}).at("noise")) ==
        Approx(std::stod(last.at("noise"))).epsilon(1e-8));
  CHECK(contains(error_text([&] { diagnose(cell, "{type: logit_noise, queries: -1}"); }), "queries"));
  CHECK(contains(error_text([&] { diagnose(cell, "{type: logit_noise, querys: 1}"); }), "did you mean 'queries'"));
}

}  // namespace qroar
