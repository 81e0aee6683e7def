// Which pairs' phases at far distances the loss depends on: an intervention on the angles of attention (docs/method.md
// 3.12, our definition), in the evaluated model.  Between a query and keys nearer than `distance` tokens (default: the
// trained length) nothing changes.  At farther keys some pairs stop: they have the phase of that distance, whatever the
// distance is.  A pair has wrapped if it completes a turn of plain RoPE within the trained length: farther on it shows
// phases that near distances have as well (aliasing); one that has not wrapped shows phases that training never had.
// Moving: all (no pair stops), wrapped (only pairs that have wrapped move on), unwrapped (only the others do), none.
// Every key is read as the cache holds it: a `residual` window has no effect, and losses are those of the cell only
// where it has none.
// Columns: moving, pairs (that move on), begin, end (places of the predicted tokens in the window, end excluded),
// documents, tokens, nll, difference, difference_low, difference_high (of the NLL to all pairs moving on; 95 % interval
// over documents).  Where targets lie beyond the window, its last loss is left out.
// T tokens, H query heads, K key/value heads, d head_dim, P = d/2 pairs.
#include <array>
#include <cmath>
#include <numbers>
#include <optional>

#include "diagnostics/by_document.h"
#include "diagnostics/diagnostic.h"
#include "eval/token_losses.h"

namespace qroar {
namespace {

constexpr int64_t kBins = 16;

/// A query's angles at its position, and a key's, for pairs that move on; else the phase of `distance` for every query
/// and position 0 for every key.
struct FarAngles {
  ops::RopeAngles query, key;
};

FarAngles far_angles(const ops::RopeAngles& angles, const at::Tensor& moves_P, int64_t distance) {
  const auto stopped = [&](int64_t position) {
    const ops::RopeAngles at_position = angles.slice(position, position + 1);
    return ops::RopeAngles{at::where(moves_P, angles.cos_TP, at_position.cos_TP),
                           at::where(moves_P, angles.sin_TP, at_position.sin_TP)};
  };
  return {stopped(distance), stopped(0)};
}

/// Returns attention in which keys from `distance` on are read by the far angles.  Queries and keys of 2d channels hold
/// both readings: near keys are zero in the second half, far ones in the first.
Attention stopping(const ops::RopeAngles& angles, const FarAngles& far, int64_t distance) {
  return Attention(
      [=](const DecoderLayer& layer, const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
        const HeadTransforms& heads = layer.heads;
        const int64_t d = q_THd.size(2);
        const at::Tensor q_THe =
            at::cat({heads.read_query(q_THd.clone(), angles), heads.read_query(q_THd.clone(), far.query)}, -1);
        const at::Tensor near_TKd = heads.cached_key(k_TKd.clone(), angles),
                         far_TKd = heads.cached_key(k_TKd.clone(), far.key);
        const at::Tensor value_TKd = heads.value(v_TKd), zero_TKd = at::zeros_like(value_TKd);
        const at::Tensor value_TKe = at::cat({value_TKd, zero_TKd}, -1);
        ops::AttentionOptions options = layer.attention;
        options.scaling = 1 / options.divisor(d);  // by the d channels of either reading
        return ops::residual_attention(q_THe, at::cat({zero_TKd, far_TKd}, -1), value_TKe,
                                       at::cat({near_TKd, zero_TKd}, -1), value_TKe, distance, options)
            .slice(2, 0, d);
      });
}

class Aliasing : public Diagnostic {
 public:
  explicit Aliasing(const Config& config) : windows_(config.get<int64_t>("windows", 8, {1, 1'000'000})) {
    if (config.has("distance")) distance_ = config.get<int64_t>("distance", 1, {1, int64_t{1} << 31});
  }

  void check_cell(const LlamaConfig&, const WindowRule&) const override {}

  DiagnosticWork work() const override { return {windows_, 6}; }

  CsvTable run(const DiagnosticInput& input) const override {
    const RopeGeometry& geometry = input.geometry;
    std::vector<bool> wrapped;
    for (const double omega : base_frequencies(geometry.rotary_dim, geometry.theta)) {
      wrapped.push_back(omega * static_cast<double>(geometry.trained_length) >= 2 * std::numbers::pi);
    }
    const std::vector<Window> windows = input.spread_windows(windows_);
    int64_t longest = 2;
    for (const Window& window : windows) longest = std::max(longest, tokens_seen(window, input.feed));

    std::array<std::array<Bin, kBins>, kModes> bins;
    for (const Window& window : windows) {
      const at::Tensor all_R = losses(input, window, wrapped, 0);
      for (std::size_t mode = 0; mode < kModes; ++mode) {
        const at::Tensor nll_R = mode == 0 ? all_R : losses(input, window, wrapped, mode);
        add_window(input.scored_inside(window), input.cluster_of(window), nll_R, all_R, longest, bins[mode]);
      }
    }
    CsvTable table{{"moving", "pairs", "begin", "end", "documents", "tokens", "nll", "difference", "difference_low",
                    "difference_high"},
                   {}};
    for (std::size_t mode = 0; mode < kModes; ++mode) {
      for (int64_t bin = 0; bin < kBins; ++bin) {
        const Bin& own = bins[mode][static_cast<std::size_t>(bin)];
        if (own.nll.empty()) continue;
        const int64_t pairs = std::ranges::count_if(wrapped, [&](bool has) { return moves(mode, has); });
        const Estimate nll = own.nll.estimate();
        table.rows.push_back(
            joined({{kModeNames[mode], std::to_string(pairs), std::to_string(bin * width(longest)),
                     std::to_string((bin + 1) * width(longest)), std::to_string(nll.clusters),
                     std::to_string(own.tokens), csv_number(nll.value)},
                    mode == 0 ? std::vector<std::string>{"", "", ""} : interval_fields(own.difference.estimate())}));
      }
    }
    return table;
  }

 private:
  static constexpr std::size_t kModes = 4;
  static constexpr const char* kModeNames[kModes] = {"all", "wrapped", "unwrapped", "none"};

  /// The losses of the tokens of a part of the windows.
  struct Bin {
    int64_t tokens = 0;
    DocumentMean nll, difference;
  };

  static int64_t width(int64_t longest) { return (longest + kBins - 1) / kBins; }

  static bool moves(std::size_t mode, bool has_wrapped) {
    return mode == 0 || (mode == 1 && has_wrapped) || (mode == 2 && !has_wrapped);
  }

  /// Returns the NLL of the window's tokens 1, 2 .., float64 on the CPU.
  at::Tensor losses(const DiagnosticInput& input, const Window& window, const std::vector<bool>& wrapped,
                    std::size_t mode) const {
    const at::Tensor tokens_T = input.tokens_T(window);
    const int64_t T = tokens_T.size(0), distance = distance_.value_or(input.geometry.trained_length);
    const ops::RopeAngles angles = input.angles_of(T);
    at::Tensor moves_P = at::ones({std::ssize(wrapped)}, at::kBool);
    for (int64_t i = 0; i < std::ssize(wrapped); ++i) moves_P[i] = moves(mode, wrapped[static_cast<std::size_t>(i)]);
    // A window without far keys has no use for the phase at the distance, and no such row.
    const FarAngles far = far_angles(angles, moves_P.to(tokens_T.device()), std::min(distance, T - 1));
    const at::Tensor hidden_TD = forward(input.model, tokens_T, stopping(angles, far, distance));
    std::vector<at::Tensor> nll;
    for (int64_t begin = 0; begin < T - 1; begin += kLogitRows) {
      const int64_t end = std::min(begin + kLogitRows, T - 1);
      nll.push_back(
          ops::token_nll(logits(input.model, hidden_TD.slice(0, begin, end)), tokens_T.slice(0, begin + 1, end + 1))
              .cpu());
    }
    return at::cat(nll);
  }

  /// Adds the window's last `scored` tokens.
  static void add_window(int64_t scored, int64_t document, const at::Tensor& nll_R, const at::Tensor& all_R,
                         int64_t longest, std::array<Bin, kBins>& bins) {
    const int64_t T = nll_R.size(0) + 1;
    for (int64_t bin = 0; bin < kBins; ++bin) {
      const int64_t begin = std::max({bin * width(longest), T - scored, int64_t{1}}),
                    end = std::min((bin + 1) * width(longest), T);
      if (begin >= end) continue;
      const auto sum = [&](const at::Tensor& x_R) { return x_R.slice(0, begin - 1, end - 1).sum().item<double>(); };
      Bin& own = bins[static_cast<std::size_t>(bin)];
      own.tokens += end - begin;
      own.nll.add(document, static_cast<double>(end - begin), sum(nll_R));
      own.difference.add(document, static_cast<double>(end - begin), sum(nll_R) - sum(all_R));
    }
  }

  std::optional<int64_t> distance_;  ///< tokens; empty: the trained length
  int64_t windows_;
};

const Register<Diagnostic, Aliasing> kAliasing{
    "aliasing",
    "loss by position when the phases of pairs that have wrapped, or of the others, stop at the trained length",
    "{type: aliasing, distance: 16, windows: 8}"};

}  // namespace
}  // namespace qroar
