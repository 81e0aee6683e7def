// Rounding error of queries and keys after RoPE by the angle of rotation (docs/method.md 3.11, our definition): a grid
// is aligned with the channels, RoPE turns the pairs across it, and theory gives an error along the pair's own axes of
// up to |cos| + |sin| times that of an unrotated pair, sqrt 2 at 45 degrees.  In the evaluated model, without position
// 0. A grid is symmetric with 4 bits; its step is the largest magnitude over the window's tokens over 7, of each
// channel of a head (`channel`) or of both channels of a pair (`pair`).  Errors are turned back to the axes before RoPE
// and given in units of the pair's step: rms as a multiple of step / sqrt 12, largest as a multiple of step / 2.
// Columns: layer, site (q_proj or k_proj), grid (channel or pair), angle_begin and angle_end (degrees modulo 90, end
// excluded; empty: all angles), documents, count, rms, rms_low, rms_high (95 % interval over documents), largest,
// theory (the largest |cos| + |sin| of these angles), range_growth (only over all angles: geometric mean over heads and
// channels, or pairs, of the largest magnitude after RoPE over that before; theory bounds a pair's by sqrt 2 times the
// attention factor).
// T tokens, H heads, d head_dim, P = d/2 pairs.
#include <array>
#include <cmath>
#include <numbers>

#include "diagnostics/diagnostic.h"
#include "diagnostics/tails.h"

namespace qroar {
namespace {

constexpr int64_t kBins = 8;  ///< of 90 degrees

/// The sums of one grid at one place: of kBins angles, and of all.
struct Errors {
  struct Bin {
    int64_t count = 0;
    DocumentMean square;
    double largest = 0;
  };
  std::array<Bin, kBins + 1> bins;
  DocumentMean log_growth;
};

/// The rotation of every token and pair.
struct Rotation {
  at::Tensor cos_TP, sin_TP;  ///< without the attention factor
  at::Tensor bin_TP;

  explicit Rotation(const ops::RopeAngles& angles) {
    const at::Tensor size_TP = at::hypot(angles.cos_TP, angles.sin_TP);
    cos_TP = angles.cos_TP / size_TP;
    sin_TP = angles.sin_TP / size_TP;
    const at::Tensor quarters_TP = at::atan2(sin_TP, cos_TP) * (2 / std::numbers::pi);
    bin_TP = ((quarters_TP - quarters_TP.floor()) * kBins).floor().clamp(0, kBins - 1).to(at::kLong);
  }
};

/// Returns the largest magnitude of every head's channels, [H, 2, P], without position 0.
at::Tensor largest_H2P(const at::Tensor& x_THd) {
  return x_THd.slice(0, 1).abs().amax(0).to(ops::wide_dtype(x_THd)).unflatten(-1, {2, -1});
}

/// Adds one head's errors, after RoPE: x_T2P, with its largest magnitudes [2, P] before it and after.
void add_head(const at::Tensor& x_T2P, const at::Tensor& before_2P, const at::Tensor& after_2P, const Rotation& turn,
              bool by_pair, int64_t document, Errors& errors) {
  const at::Tensor pair_1P = after_2P.amax(0, /*keepdim=*/true).clamp_min(1e-30) / 7;
  const at::Tensor step_2P = by_pair ? pair_1P.expand_as(after_2P) : after_2P.clamp_min(1e-30) / 7;
  const at::Tensor error_T2P = ((x_T2P / step_2P).round() * step_2P - x_T2P) / pair_1P;
  const at::Tensor a_TP = error_T2P.select(1, 0), b_TP = error_T2P.select(1, 1);
  const at::Tensor own_2TP =
      at::stack({a_TP * turn.cos_TP + b_TP * turn.sin_TP, b_TP * turn.cos_TP - a_TP * turn.sin_TP});
  for (int64_t bin = 0; bin <= kBins; ++bin) {
    const at::Tensor in_TP = bin == kBins ? at::ones_like(turn.bin_TP) : (turn.bin_TP == bin).to(at::kLong);
    const at::Tensor kept_2TP = own_2TP * in_TP;
    Errors::Bin& sums = errors.bins[static_cast<std::size_t>(bin)];
    const int64_t count = 2 * in_TP.sum().item<int64_t>();
    sums.count += count;
    sums.square.add(document, static_cast<double>(count),
                    12 * kept_2TP.square().sum(at::IntArrayRef{}, false, at::kDouble).item<double>());
    sums.largest = std::max(sums.largest, 2 * kept_2TP.abs().max().item<double>());
  }
  const at::Tensor old_P = by_pair ? before_2P.amax(0) : before_2P.flatten(),
                   new_P = by_pair ? after_2P.amax(0) : after_2P.flatten();
  const at::Tensor log_P = (new_P.clamp_min(1e-30) / old_P.clamp_min(1e-30)).log();
  errors.log_growth.add(document, static_cast<double>(log_P.numel()), log_P.to(at::kDouble).sum().item<double>());
}

class Anisotropy : public Diagnostic {
 public:
  explicit Anisotropy(const Config& config) : windows_(config.get<int64_t>("windows", 8, {1, 1'000'000})) {}

  void check_cell(const LlamaConfig&, const WindowRule&) const override {}

  DiagnosticWork work() const override { return {windows_, 2}; }

  CsvTable run(const DiagnosticInput& input) const override {
    std::map<std::pair<HeadsPlace, bool>, Errors> all;  // by the place after RoPE, and whether the grid is a pair's
    for (const Window& window : input.spread_windows(windows_)) {
      const at::Tensor tokens_T = input.tokens_T(window);
      const ops::RopeAngles angles = input.angles_of(tokens_T.size(0));
      const Rotation turn(angles.slice(1, tokens_T.size(0)));
      at::Tensor before_H2P;
      visit_heads(input.model, tokens_T, angles, [&](const HeadsPlace& place, const at::Tensor& x_THd) {
        const at::Tensor largest = largest_H2P(x_THd);
        if (!place.after_rope) {
          before_H2P = largest;
          return;
        }
        for (int64_t head = 0; head < x_THd.size(1); ++head) {
          const at::Tensor x_T2P = x_THd.slice(0, 1).select(1, head).to(largest.scalar_type()).unflatten(-1, {2, -1});
          for (const bool by_pair : {false, true}) {
            add_head(x_T2P, before_H2P[head], largest[head], turn, by_pair, input.cluster_of(window),
                     all[{place, by_pair}]);
          }
        }
      });
    }
    CsvTable table{{"layer", "site", "grid", "angle_begin", "angle_end", "documents", "count", "rms", "rms_low",
                    "rms_high", "largest", "theory", "range_growth"},
                   {}};
    for (const auto& [key, errors] : all) {
      for (int64_t bin = 0; bin <= kBins; ++bin) add_row(key.first, key.second, errors, bin, table);
    }
    return table;
  }

 private:
  static void add_row(const HeadsPlace& place, bool by_pair, const Errors& errors, int64_t bin, CsvTable& table) {
    const Errors::Bin& own = errors.bins[static_cast<std::size_t>(bin)];
    if (own.square.empty()) return;
    const bool over_all = bin == kBins;
    const auto degrees = [&](int64_t edge) {
      return over_all ? "" : csv_number(90.0 * static_cast<double>(edge) / kBins);
    };
    const Estimate square = own.square.estimate();
    table.rows.push_back(joined({{std::to_string(place.layer), place.site(), by_pair ? "pair" : "channel", degrees(bin),
                                  degrees(bin + 1), std::to_string(square.clusters), std::to_string(own.count)},
                                 interval_fields(square, [](double x) { return std::sqrt(std::max(x, 0.0)); }),
                                 {csv_number(own.largest), csv_number(theory(bin)),
                                  over_all ? csv_number(std::exp(errors.log_growth.estimate().value)) : ""}}));
  }

  /// Returns the largest |cos| + |sin| of a bin, at its end that is nearer to 45 degrees.
  static double theory(int64_t bin) {
    if (bin == kBins) return std::numbers::sqrt2;
    const double width = std::numbers::pi / 2 / kBins;
    const double nearest = static_cast<double>(bin < kBins / 2 ? bin + 1 : bin) * width;
    return std::cos(nearest) + std::sin(nearest);
  }

  int64_t windows_;
};

const Register<Diagnostic, Anisotropy> kAnisotropy{
    "anisotropy", "rounding error of pairs after RoPE by the angle of rotation, for grids per channel and per pair",
    "{type: anisotropy, windows: 8}"};

}  // namespace
}  // namespace qroar
