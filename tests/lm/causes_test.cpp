// The diagnostics of the causes that the papers name, dilation, anisotropy and aliasing, against direct computation.
#include <ATen/ATen.h>

#include <cmath>

#include "base/interval.h"
#include "diagnostics/matched.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/table.h"

namespace qroar {
namespace {

const char* const kRules = "[{match: 'layers.*', weight: {type: rtn, bits: 4, group: 32}}]";

/// Four documents more, of the same tokens in another order, each with one window.
void add_documents(DiagnosedCell& cell) {
  for (std::size_t d = 2; d < 6; ++d) {
    cell.documents.push_back(cell.documents[d % 2]);
    cell.documents.back().id += std::to_string(cell.documents.size());
    std::ranges::rotate(cell.documents[d].tokens, cell.documents[d].tokens.begin() + 5 * static_cast<int64_t>(d));
    cell.windows.push_back({static_cast<int64_t>(d), 0, 39 - static_cast<int64_t>(d), 20});
  }
}

/// The losses of tokens 1, 2 .. when pairs that do not move on have the phase of `distance` at farther keys, with all
/// logits [H, T, T] written out.
at::Tensor naive_losses(const DiagnosedCell& cell, const at::Tensor& tokens_T, const std::vector<bool>& moves,
                        double distance) {
  const int64_t T = tokens_T.size(0);
  const RopeTable table = cell.scheme->table(cell.geometry, T);
  const at::Tensor position_T = at::arange(T, at::kDouble);
  const at::Tensor gap_TT = position_T.unsqueeze(1) - position_T;
  const Attention attention(
      [&](const DecoderLayer&, const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
        const at::Tensor k_THd = k_TKd.repeat_interleave(2, 1), v_THd = v_TKd.repeat_interleave(2, 1);
        at::Tensor logits_HTT = at::zeros({4, T, T}, at::kDouble);
        for (int64_t i = 0; i < 8; ++i) {
          const auto channel = [&](const at::Tensor& x, int64_t c) { return x.select(2, c).t(); };  // [H, T]
          const at::Tensor qa = channel(q_THd, i).unsqueeze(2), qb = channel(q_THd, i + 8).unsqueeze(2);
          const at::Tensor ka = channel(k_THd, i).unsqueeze(1), kb = channel(k_THd, i + 8).unsqueeze(1);
          const at::Tensor seen_TT = moves[static_cast<std::size_t>(i)] ? gap_TT : gap_TT.clamp_max(distance);
          const at::Tensor turn_TT = seen_TT * table.inv_freq[static_cast<std::size_t>(i)];
          logits_HTT += (qa * ka + qb * kb) * turn_TT.cos() + (qa * kb - qb * ka) * turn_TT.sin();
        }
        logits_HTT *= table.attention_factor * table.attention_factor / 4;
        const at::Tensor mask_TT = at::full({T, T}, -HUGE_VAL, at::kDouble).triu(1);
        return at::einsum("hmn,nhd->mhd", {(logits_HTT + mask_TT).softmax(-1), v_THd});
      });
  const at::Tensor hidden_TD = forward(cell.model, tokens_T, attention);
  return ops::token_nll(logits(cell.model, hidden_TD.slice(0, 0, T - 1)), tokens_T.slice(0, 1));
}

}  // namespace

TEST_CASE(
    "aliasing: the loss with stopped phases is that of logits written out, and with none stopped the cell's own") {
  DiagnosedCell cell(kRules, at::kDouble);
  cell.windows = {{0, 0, 39, 39}};
  cell.geometry.trained_length = 120;
  const Table table = table_of(cell, "{type: aliasing, distance: 10}");
  const at::Tensor tokens_T = cell.input().tokens_T(cell.windows[0]);
  const at::Tensor plain = naive_losses(cell, tokens_T, std::vector<bool>(8, true), 0);
  const at::Tensor hidden_TD = forward(cell.model, tokens_T, cell.angles_of(40));
  CHECK((plain - ops::token_nll(logits(cell.model, hidden_TD.slice(0, 0, 39)), tokens_T.slice(0, 1)))
            .abs()
            .max()
            .item<double>() < 1e-10);
  REQUIRE(table.size() == 4 * 14);
  for (const auto& [moving, pairs] : {std::pair{"all", 8}, {"wrapped", 3}, {"unwrapped", 5}, {"none", 0}}) {
    // 120 tokens are a turn or more of frequencies 1, 0.32 and 0.1, and more than half a turn of 0.032.
    std::vector<bool> moves;
    for (int i = 0; i < 8; ++i) {
      moves.push_back(std::string(moving) == "all" || (i < 3 && std::string(moving) == "wrapped") ||
                      (i >= 3 && std::string(moving) == "unwrapped"));
    }
    const at::Tensor nll = naive_losses(cell, tokens_T, moves, 10);
    for (int64_t bin = 0; bin < 14; ++bin) {
      CAPTURE(moving, bin);
      const Row row = first_row(table, {{"moving", moving}, {"begin", std::to_string(3 * bin)}});
      CHECK(row.at("pairs") == std::to_string(pairs));
      const int64_t begin = std::max<int64_t>(1, 3 * bin), end = std::min<int64_t>(40, 3 * bin + 3);
      CHECK(row.at("tokens") == std::to_string(end - begin));
      const auto mean = [&](const at::Tensor& x) { return x.slice(0, begin - 1, end - 1).mean().item<double>(); };
      CHECK(std::stod(row.at("nll")) == Approx(mean(nll)).epsilon(1e-8));
      if (pairs == 8) {
        CHECK(row.at("difference").empty());
      } else {
        CHECK(std::abs(std::stod(row.at("difference")) - (mean(nll) - mean(plain))) < 1e-8);
        // Keys farther than 10 tokens are seen from position 11 on, which predicts the token after it.
        CHECK((std::abs(std::stod(row.at("difference"))) < 1e-12) == (end <= 12));
      }
    }
  }
}

TEST_CASE("aliasing: without far keys nothing differs, and differences have intervals over documents") {
  DiagnosedCell cell(kRules, at::kFloat);
  add_documents(cell);
  for (const Row& row : table_of(cell, "{type: aliasing}")) {
    if (row.at("moving") != "all") CHECK(row.at("difference") == "0");
  }
  const Row late = first_row(table_of(cell, "{type: aliasing, distance: 8}"), {{"moving", "none"}, {"begin", "27"}});
  CHECK(late.at("documents") == "6");
  CHECK(std::stod(late.at("difference_low")) < std::stod(late.at("difference")));
}

TEST_CASE(
    "anisotropy: the largest error stays within |cos| + |sin| half steps and comes near, and rms is one step / sqrt "
    "12") {
  DiagnosedCell cell("[]", at::kDouble);
  std::mt19937 random(8);
  for (Document& document : cell.documents) {
    document.tokens.assign(2000, 0);
    for (int32_t& token : document.tokens) token = static_cast<int32_t>(random() % 50);
  }
  cell.windows = {{0, 0, 1500, 1500}, {1, 0, 1500, 1500}};
  const Table table = table_of(cell, "{type: anisotropy}");
  REQUIRE(table.size() == 2 * 2 * 2 * 9);
  int64_t in_bins = 0;
  for (const Row& row : table) {
    const bool over_all = row.at("angle_begin").empty();
    CAPTURE(row.at("layer"), row.at("site"), row.at("grid"), row.at("angle_begin"));
    CHECK(std::stod(row.at("largest")) <= std::stod(row.at("theory")) * (1 + 1e-9));
    CHECK(row.at("range_growth").empty() == !over_all);
    if (row.at("grid") == "pair") {
      CHECK(std::stod(row.at("largest")) > 0.85 * std::stod(row.at("theory")));
      CHECK(std::abs(std::stod(row.at("rms")) - 1) < 0.1);
    } else {
      CHECK(std::stod(row.at("rms")) < 1.05);
    }
    if (row.at("layer") == "0" && row.at("site") == "q_proj" && row.at("grid") == "pair" && !over_all) {
      in_bins += std::stoll(row.at("count"));
    }
  }
  CHECK(in_bins == 2 * 1500 * 4 * 16);
  CHECK(std::stod(first_row(table, {{"angle_begin", "33.75"}}).at("theory")) == Approx(std::sqrt(2)));
  CHECK(std::stod(first_row(table, {{"angle_begin", "0"}}).at("theory")) ==
        Approx(std::cos(M_PI / 16) + std::sin(M_PI / 16)));
}

TEST_CASE(
    "anisotropy: an error is that of rounding by hand, turned back, and the range grows as that of the channels") {
  DiagnosedCell cell("[]", at::kDouble);
  cell.windows = {{0, 0, 39, 39}};
  cell.scheme = make_scheme("{type: none}");
  const Table table = table_of(cell, "{type: anisotropy}");
  at::Tensor before, after;
  const at::Tensor tokens_T = cell.input().tokens_T(cell.windows[0]);
  visit_heads(cell.model, tokens_T, cell.angles_of(40), [&](const HeadsPlace& place, const at::Tensor& x) {
    if (place.layer == 0 && place.is_key)
      (place.after_rope ? after : before) = x.slice(0, 1).clone().view({39, 2, 2, 8});
  });
  const at::Tensor channel = after.abs().amax(0, true), pair = channel.amax(2, true);
  for (const bool by_pair : {false, true}) {
    const at::Tensor step = (by_pair ? pair.expand_as(channel) : channel) / 7, unit = pair / 7;
    const at::Tensor error = ((after / step).round() * step - after) / unit;
    const Row row = first_row(
        table, {{"layer", "0"}, {"site", "k_proj"}, {"grid", by_pair ? "pair" : "channel"}, {"angle_begin", ""}});
    CHECK(std::stod(row.at("rms")) == Approx(std::sqrt(12 * error.square().mean().item<double>())).epsilon(1e-8));
    const at::Tensor old = before.abs().amax(0, true);
    const at::Tensor growth = by_pair ? pair / old.amax(2, true) : channel / old;
    CHECK(std::stod(row.at("range_growth")) == Approx(std::exp(growth.log().mean().item<double>())).epsilon(1e-8));
    // Turned back with the angle of every token: the largest in either axis.
    const at::Tensor turn_TP =
        at::outer(at::arange(1, 40, at::kDouble), at::tensor(base_frequencies(16, 1e4), at::kDouble)).unsqueeze(1);
    const at::Tensor a = error.select(2, 0), b = error.select(2, 1);
    const double largest = std::max((a * turn_TP.cos() + b * turn_TP.sin()).abs().max().item<double>(),
                                    (b * turn_TP.cos() - a * turn_TP.sin()).abs().max().item<double>());
    CHECK(std::stod(row.at("largest")) == Approx(2 * largest).epsilon(1e-6));
  }
}

TEST_CASE("dynamic_range: where nothing depends on the context the ratios are 1, and only quantizers have errors") {
  DiagnosedCell cell("[]");
  add_documents(cell);
  const Table table = table_of(cell, "{type: dynamic_range, short: 9}");
  REQUIRE(table.size() == 2 * 4);
  const Row first = first_row(table, {{"layer", "0"}, {"site", "key_before_rope"}});
  CHECK(first.at("documents") == "6");
  for (const char* column : {"max_ratio", "max_ratio_low", "step_ratio", "step_ratio_high"}) {
    CHECK(std::stod(first.at(column)) == Approx(1).epsilon(1e-8));
  }
  CHECK(first.at("clip_share") == "0");
  CHECK(std::stod(first_row(table, {{"layer", "1"}, {"site", "key_before_rope"}}).at("max_ratio")) != 1);
  for (const Row& row : table) CHECK((row.at("short_error").empty() && row.at("error_ratio").empty()));
}

TEST_CASE("dynamic_range: range, step, clipping and rounding are those of the same tokens by hand") {
  DiagnosedCell cell("[]", at::kDouble);
  cell.windows = {{0, 0, 39, 39}};
  const Transform coarse{[](const at::Tensor& x) { return at::round(x * 2) / 2; }, false};
  for (DecoderLayer& layer : cell.model.layers) layer.heads.key = coarse;
  const Table table = table_of(cell, "{type: dynamic_range, short: 12}");
  const MatchedContexts contexts(cell.input().tokens_T(cell.windows[0]), cell.feed, 12, cell.angles_of);
  at::Tensor in_short, in_long;
  const HeadsPlace place{1, true, true};
  contexts.visit_short(cell.model, [&](const HeadsPlace& at, const at::Tensor& x) {
    if (at == place) in_short = x;
  });
  contexts.visit_long(cell.model, [&](const HeadsPlace& at, const at::Tensor& x) {
    if (at == place) in_long = x;
  });
  const Row row = first_row(table, {{"layer", "1"}, {"site", "key"}});
  const auto near = [&](const char* column, double wanted) {
    CAPTURE(column);
    CHECK(std::stod(row.at(column)) == Approx(wanted).epsilon(1e-8));
  };
  const auto mean_max = [](const at::Tensor& x) { return x.abs().amax(-1).mean().item<double>(); };
  const auto mean_step = [](const at::Tensor& x) { return (x.amax(-1) - x.amin(-1)).mean().item<double>() / 15; };
  const auto error = [&](const at::Tensor& x) { return (coarse(x) - x).square().mean().sqrt().item<double>(); };
  near("short_max", mean_max(in_short));
  near("long_max", mean_max(in_long));
  near("max_ratio", mean_max(in_long) / mean_max(in_short));
  near("short_step", mean_step(in_short));
  near("long_step", mean_step(in_long));
  near("step_ratio", mean_step(in_long) / mean_step(in_short));
  near("short_error", error(in_short));
  near("error_ratio", error(in_long) / error(in_short));
  const auto clipped = (in_long < in_short.amin(0)).logical_or(in_long > in_short.amax(0)).sum().item<int64_t>();
  CHECK(clipped > 0);
  CHECK(row.at("long_clipped") == std::to_string(clipped));
  near("clip_share", static_cast<double>(clipped) / static_cast<double>(in_long.numel()));
  const Row cached = first_row(table, {{"layer", "1"}, {"site", "cached_key"}});
  CHECK(std::stod(cached.at("long_max")) == Approx(mean_max(coarse(in_long))).epsilon(1e-8));
  CHECK(cached.at("short_error").empty());
  CHECK(contains(error_text([&] { diagnose(cell, "{type: dynamic_range}"); }), "short contexts of 512 tokens"));
}

TEST_CASE("dynamic_range: a group is what the cell's own quantizer gives one scale") {
  const auto row_of = [](const std::string& kv, const char* site) {
    DiagnosedCell cell("[]\nkv: {type: fake_quant, " + kv + "}", at::kDouble);
    cell.windows = {{0, 0, 39, 39}};
    return first_row(table_of(cell, "{type: dynamic_range, short: 12}"), {{"layer", "0"}, {"site", site}});
  };
  DiagnosedCell cell("[]", at::kDouble);  // layer 0's keys do not depend on what is rounded behind them
  const MatchedContexts contexts(cell.input().tokens_T(cell.windows[0]), cell.feed, 12, cell.angles_of);
  at::Tensor key_CKd;
  contexts.visit_long(cell.model, [&](const HeadsPlace& at, const at::Tensor& x) {
    if (at == HeadsPlace{0, true, true}) key_CKd = x;
  });
  const auto check_groups = [](const Row& row, const at::Tensor& groups_NS) {
    CHECK(std::stod(row.at("long_max")) == Approx(groups_NS.abs().amax(1).mean().item<double>()).epsilon(1e-8));
    const at::Tensor step_N = (groups_NS.amax(1) - groups_NS.amin(1)) / 15;
    CHECK(std::stod(row.at("long_step")) == Approx(step_N.mean().item<double>()).epsilon(1e-8));
  };
  const auto heads = key_CKd.reshape({-1, 16});
  check_groups(row_of("key: {type: rtn, bits: 4, group: 8}", "key"), heads.view({-1, 8}));
  check_groups(row_of("value: {type: rtn, bits: 4, group: 8}", "key"), heads);
  check_groups(row_of("key: {type: rtn, bits: 4, group: 0}, key_axis: token", "key"), key_CKd.flatten(1));
  const Row unrotated = row_of("key: {type: rtn, bits: 4, group: 8}, key_rope: before", "key_before_rope");
  CHECK(std::stod(unrotated.at("long_max")) < 0.9 * std::stod(row_of("residual: 0", "key_before_rope").at("long_max")));
  // Of tokens 0 to 39 all but BOS count, and so does every group of four tokens but the first.
  const at::Tensor groups_KdN = key_CKd.slice(0, 3).permute({1, 2, 0});
  const std::string channels = "key: {type: rtn, bits: 4, group: 4}, key_axis: channel, residual: 3";
  check_groups(row_of(channels, "key"), groups_KdN.reshape({-1, 4}));
  const std::string bands =
      "key: {type: by_band, edges: [0, 2, 8], axis: columns, of: [{type: rtn, bits: 8, group: 0}, "
      "{type: rtn, bits: 4, group: 0}]}";
  const at::Tensor pairs = heads.view({-1, 2, 8});
  const double low = pairs.slice(2, 0, 2).flatten(1).abs().amax(1).mean().item<double>(),
               high = pairs.slice(2, 2, 8).flatten(1).abs().amax(1).mean().item<double>();
  CHECK(std::stod(row_of(bands, "key").at("long_max")) == Approx((low + high) / 2).epsilon(1e-8));
  // No group of 16 tokens lies within a piece of 12.
  const Row none = row_of("key: {type: rtn, bits: 4, group: 16}, key_axis: channel, residual: 15", "key");
  CHECK((none.at("max_ratio").empty() && none.at("long_step").empty() && !none.at("clip_share").empty()));
}

}  // namespace qroar
