// The diagnostic sensitivity against finite differences of the NLL in float64: by s through the scheme's own tables, by
// frequencies and by scales, for a pair, a band, a layer and all at once.
#include <ATen/ATen.h>

#include <cmath>

#include "base/interval.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/table.h"

namespace qroar {
namespace {

/// A table for each layer, and scales [L, P] of queries and keys.
struct Point {
  std::vector<RopeTable> table_L;
  at::Tensor scale_LP;
};

Point here(const DiagnosedCell& cell) {
  const auto layers = cell.model.layers.size();
  return {std::vector<RopeTable>(layers, cell.scheme->table(cell.geometry, 40)),
          at::ones({static_cast<int64_t>(layers), 8}, at::kDouble)};
}

/// Mean NLL of the last `scored` tokens at a point, with every layer written out.
double nll_at(const DiagnosedCell& cell, const Window& window, const Point& point) {
  const at::Tensor tokens_T = cell.input().tokens_T(window);
  const int64_t T = tokens_T.size(0);
  at::Tensor x_TD = at::embedding(cell.model.embed_tokens_VD, tokens_T);
  for (std::size_t i = 0; i < cell.model.layers.size(); ++i) {
    DecoderLayer layer = cell.model.layers[i];
    const at::Tensor scale_O = point.scale_LP[static_cast<int64_t>(i)].repeat({2});
    for (Linear* linear : {&layer.q_proj, &layer.k_proj}) {
      linear->weight_OI = linear->weight_OI * scale_O.repeat({linear->weight_OI.size(0) / 16}).unsqueeze(1);
    }
    decoder_layer(layer, cell.model.config, x_TD, rope_angles(point.table_L[i], T, at::kDouble, at::kCPU, false));
  }
  const at::Tensor hidden_TD = ops::rms_norm(x_TD, cell.model.norm_D, cell.model.config.rms_norm_eps);
  const at::Tensor nll_T = ops::token_nll(logits(cell.model, hidden_TD.slice(0, 0, T - 1)), tokens_T.slice(0, 1));
  return nll_T.slice(0, T - 1 - window.scored).mean().item<double>();
}

/// The central difference of fourth order along a path of points.
double difference(const std::function<double(double)>& f) {
  constexpr double h = 2e-4;  // turns position 39 by 39 times as much
  return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h);
}

double derivative(const Table& table, const Row& wanted) {
  return std::stod(first_row(table, wanted).at("derivative"));
}

const char* const kWeights = "[{match: 'layers.*', weight: {type: rtn, bits: 4, group: 32}}]";

}  // namespace

TEST_CASE("derivatives by frequency and scale are those of finite differences, of a pair, a band and a layer") {
  DiagnosedCell cell(kWeights, at::kDouble);
  cell.windows = {{0, 0, 39, 25}};
  const Table table = table_of(cell, "{type: sensitivity, bands: 4}");
  REQUIRE(table.size() == 4 * 3 * (1 + 4 + 8));
  for (const int layer : {0, 1, -1}) {
    for (const auto& [begin, end, row] : {std::tuple{3, 4, Row{{"band", "1"}, {"pair", "3"}}},
                                          {2, 4, Row{{"band", "1"}, {"pair", ""}}},
                                          {0, 8, Row{{"band", ""}, {"pair", ""}}}}) {
      CAPTURE(layer, begin, end);
      const auto moved = [&](const std::function<void(RopeTable&, at::Tensor, int)>& move) {
        Point point = here(cell);
        for (int n = 0; n < 2; ++n) {
          if (layer >= 0 && n != layer) continue;
          for (int i = begin; i < end; ++i) move(point.table_L[static_cast<std::size_t>(n)], point.scale_LP[n], i);
        }
        return nll_at(cell, cell.windows[0], point);
      };
      Row wanted = row;
      wanted["layer"] = layer < 0 ? "" : std::to_string(layer);
      wanted["parameter"] = "ln_omega";
      CHECK(derivative(table, wanted) == Approx(difference([&](double x) {
                                           return moved([x](RopeTable& own, const at::Tensor&, int i) {
                                             own.inv_freq[static_cast<std::size_t>(i)] *= std::exp(x);
                                           });
                                         })).epsilon(1e-6));
      wanted["parameter"] = "ln_g";
      CHECK(derivative(table, wanted) ==
            Approx(difference([&](double x) {
              return moved([x](RopeTable&, at::Tensor scale_P, int i) { scale_P[i] = std::exp(x); });
            })).epsilon(1e-6));
    }
  }
}

TEST_CASE(
    "the derivative by ln s is that of the scheme's own table at a larger factor, with its attention factor or "
    "without") {
  for (const char* scheme : {"{type: yarn, factor: 2}", "{type: linear, factor: 2}", "{type: none}"}) {
    CAPTURE(scheme);
    DiagnosedCell cell(kWeights, at::kDouble);
    cell.scheme = make_scheme(scheme);
    cell.windows = {{1, 0, 39, 39}};
    const Table table = table_of(cell, "{type: sensitivity, bands: 2}");
    const auto at_s = [&](double log_s, bool with_factor) {
      RopeGeometry geometry = cell.geometry;
      geometry.stretch = std::exp(log_s);
      Point point = here(cell);
      for (RopeTable& own : point.table_L) {
        const double factor = own.attention_factor;
        own = cell.scheme->table(geometry, 40);
        if (!with_factor) own.attention_factor = factor;
      }
      return nll_at(cell, cell.windows[0], point);
    };
    for (const bool with_factor : {false, true}) {
      const double wanted = difference([&](double x) { return at_s(x, with_factor); });
      const double found =
          derivative(table, {{"parameter", with_factor ? "ln_s_attention" : "ln_s"}, {"layer", ""}, {"band", ""}});
      CHECK(std::abs(found - wanted) <= 1e-5 * std::abs(wanted) + 1e-12);
      CHECK((found == 0) == (std::string(scheme) == "{type: none}"));
    }
    const std::vector<double> omega = cell.scheme->table(cell.geometry, 40).inv_freq;
    if (scheme[7] == 'l') {  // d omega' / d ln s = -omega'
      const double by_omega =
          derivative(table, {{"parameter", "ln_omega"}, {"layer", ""}, {"band", "1"}, {"pair", ""}});
      CHECK(derivative(table, {{"parameter", "ln_s"}, {"layer", ""}, {"band", "1"}, {"pair", ""}}) ==
            Approx(-by_omega).epsilon(1e-6));
      const Row pair = first_row(table, {{"pair", "5"}});
      CHECK(std::stod(pair.at("pressure_rad")) == Approx(40 * omega[5]).epsilon(1e-6));
    }
  }
}

TEST_CASE("windows count by scored tokens, documents are the clusters, and the absolute value is a document's") {
  DiagnosedCell cell(kWeights, at::kDouble);
  for (std::size_t d = 2; d < 5; ++d) {
    cell.documents.push_back(cell.documents[d % 2]);
    cell.documents.back().id += std::to_string(cell.documents.size());
    std::ranges::rotate(cell.documents[d].tokens, cell.documents[d].tokens.begin() + 5 * static_cast<int64_t>(d));
  }
  cell.windows = {{0, 0, 39, 39}, {0, 5, 30, 12}, {1, 0, 30, 30}, {2, 0, 39, 39}, {3, 0, 20, 20}, {4, 0, 39, 10}};
  const Row wanted{{"parameter", "ln_g"}, {"layer", "1"}, {"band", "0"}, {"pair", ""}};
  std::map<int64_t, std::pair<double, double>> sums;
  for (const Window& window : cell.windows) {
    DiagnosedCell one(kWeights, at::kDouble);
    one.documents = cell.documents;
    one.windows = {window};
    auto& [tokens, sum] = sums[window.document];
    tokens += static_cast<double>(window.scored);
    sum += static_cast<double>(window.scored) * derivative(table_of(one, "{type: sensitivity, bands: 4}"), wanted);
  }
  std::vector<ClusterSums> with_sign, absolute;
  for (const auto& [document, own] : sums) {
    with_sign.push_back({own.first, {own.second}});
    absolute.push_back({own.first, {std::abs(own.second)}});
  }
  const Row found = first_row(table_of(cell, "{type: sensitivity, bands: 4}"), wanted);
  CHECK(found.at("documents") == "5");
  CHECK(found.at("tokens") == "150");
  const auto check_fields = [&](const std::string& name, const Estimate& expected) {
    CHECK(std::stod(found.at(name)) == Approx(expected.value).epsilon(1e-7));
    CHECK(std::stod(found.at(name + "_low")) ==
          Approx(name == "absolute" ? std::max(0.0, expected.low()) : expected.low()).epsilon(1e-6));
    CHECK(std::stod(found.at(name + "_high")) == Approx(expected.high()).epsilon(1e-6));
  };
  check_fields("derivative", estimate(with_sign));
  check_fields("absolute", estimate(absolute));
  CHECK(first_row(table_of(cell, "{type: sensitivity, bands: 4, windows: 3}"), wanted).at("derivative_low").empty());
}

}  // namespace qroar
