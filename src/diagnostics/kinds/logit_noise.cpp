// Noise of the attention logits l = q.k / sqrt(d), mean |l_model - l_full|, by the distance m - n of query and key and
// by the query's position (docs/method.md 3.7, our definition).  Each model runs on its own hidden states, so the noise
// includes that of earlier layers, as in use.  The logits are those after RoPE and all head transforms, of causal pairs
// only, with products in float32 (float64 for a float64 model).  Keys are those of the cache: where a `residual` window
// lets a query see its nearest keys exactly, their noise is overestimated.
// Columns: layer (empty: all), by (distance or position), begin and end (tokens, end excluded; distances 0, 1, 2-3, 4-7
// ..., positions in 16 equal parts of the longest window), pairs (number of logits, over all heads and windows), noise,
// magnitude (mean |l_full|).
// T tokens, H query heads, K key/value heads, G = H / K, d head_dim, R query rows of a block, N keys, B bins.
#include <bit>
#include <cmath>

#include "diagnostics/diagnostic.h"

namespace qroar {
namespace {

/// Number of queries whose logits with all keys, summed over heads, are held at a time.
constexpr int64_t kRows = 32;
constexpr int64_t kPositionBins = 16;

/// The inputs of the attention of the layer that ran last.
struct Attended {
  at::Tensor q_THd, k_TKd;
};

/// Returns the model with layers that store their queries and keys in `seen`.
Llama probed(Llama model, Attended& seen) {
  const auto keep = [](at::Tensor& place) {
    return Transform{[&place](const at::Tensor& x) { return place = x; }, false};
  };
  for (DecoderLayer& layer : model.layers) {
    layer.heads.query = layer.heads.query.then(keep(seen.q_THd));
    layer.heads.key = layer.heads.key.then(keep(seen.k_TKd));
  }
  return model;
}

/// Sums over the pairs of one layer, or of all: count, |l_model - l_full|, |l_full|.
struct Sums {
  at::Tensor distance_B3, position_B3;  ///< float64 on the CPU

  explicit Sums(int64_t longest)
      : distance_B3(at::zeros({distance_bin(longest - 1) + 1, 3}, at::kDouble)),
        position_B3(at::zeros({kPositionBins, 3}, at::kDouble)) {}

  static int64_t position_width(int64_t longest) { return (longest + kPositionBins - 1) / kPositionBins; }
  static int64_t distance_bin(int64_t distance) {
    return static_cast<int64_t>(std::bit_width(static_cast<uint64_t>(distance)));
  }
  /// Returns where bin b begins: bin 0 has distance 0, the others have distances [begin, 2 begin).
  static int64_t distance_begin(int64_t bin) { return bin == 0 ? 0 : int64_t{1} << (bin - 1); }
};

/// Returns `count` positions (0: all) evenly spaced over 0..T-1, including the last.
at::Tensor spread(int64_t T, int64_t count) {
  const int64_t taken = count == 0 ? T : std::min(count, T);
  return at::floor_divide(at::arange(1, taken + 1, at::kLong) * T, taken) - 1;
}

/// Returns |l_model - l_full| and |l_full| of some queries with keys 0..N-1, summed over heads in float64: [2, R, N].
/// Works head by head, so that individual logits need only [R*G, N].
at::Tensor noise_2RN(const Attended& full, const Attended& model, const at::Tensor& rows_R, int64_t N) {
  const int64_t R = rows_R.size(0), K = full.k_TKd.size(1), G = full.q_THd.size(1) / K, d = full.q_THd.size(2);
  at::Tensor sums_2RN = at::zeros({2, R, N}, full.q_THd.options().dtype(at::kDouble));
  for (int64_t head = 0; head < K; ++head) {
    const auto logits_RGN = [&](const Attended& seen) {
      const auto wide = ops::wide_dtype(seen.q_THd);
      const at::Tensor q_Qd = seen.q_THd.slice(1, head * G, (head + 1) * G).index_select(0, rows_R).reshape({R * G, d});
      const at::Tensor k_Nd = seen.k_TKd.slice(0, 0, N).select(1, head);
      return at::matmul(q_Qd.to(wide), k_Nd.to(wide).t()).view({R, G, N}) / std::sqrt(static_cast<double>(d));
    };
    const at::Tensor full_RGN = logits_RGN(full), error_RGN = logits_RGN(model) - full_RGN;
    sums_2RN[0] += error_RGN.abs().sum(1, /*keepdim=*/false, at::kDouble);
    sums_2RN[1] += full_RGN.abs().sum(1, /*keepdim=*/false, at::kDouble);
  }
  return sums_2RN;
}

class LogitNoise : public Diagnostic {
 public:
  explicit LogitNoise(const Config& config)
      : queries_(config.get<int64_t>("queries", 256, {0, int64_t{1} << 31})),
        windows_(config.get<int64_t>("windows", 1, {1, 1'000'000})) {}

  void check_cell(const LlamaConfig&, const WindowRule&) const override {}

  CsvTable run(const DiagnosticInput& input) const override {
    int64_t longest = 2;
    const std::vector<Window> windows = input.first_windows(windows_);
    for (const Window& window : windows) longest = std::max(longest, tokens_seen(window, input.feed));
    std::vector<Sums> layers;
    for (std::size_t i = 0; i < input.full.layers.size(); ++i) layers.emplace_back(longest);
    for (const Window& window : windows) add_window(input, window, longest, layers);

    CsvTable table{{"layer", "by", "begin", "end", "pairs", "noise", "magnitude"}, {}};
    Sums all(longest);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      add_rows(std::to_string(i), layers[i], longest, table);
      all.distance_B3 += layers[i].distance_B3;
      all.position_B3 += layers[i].position_B3;
    }
    add_rows("", all, longest, table);
    return table;
  }

 private:
  /// Runs both models side by side, so that the queries and keys of only one layer are held at a time.
  void add_window(const DiagnosticInput& input, const Window& window, int64_t longest,
                  std::vector<Sums>& layers) const {
    const at::Tensor tokens_T = input.tokens_T(window);
    const ops::RopeAngles angles = input.angles_of(tokens_T.size(0));
    Attended full_seen, model_seen;
    const Llama full = probed(input.full, full_seen), model = probed(input.model, model_seen);
    at::Tensor full_TD = at::embedding(full.embed_tokens_VD, tokens_T),
               model_TD = at::embedding(model.embed_tokens_VD, tokens_T);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      decoder_layer(full.layers[i], full.config, full_TD, angles);
      decoder_layer(model.layers[i], model.config, model_TD, angles);
      add_layer(full_seen, model_seen, longest, layers[i]);
    }
  }

  void add_layer(const Attended& full, const Attended& model, int64_t longest, Sums& sums) const {
    const at::Tensor positions_T = spread(full.q_THd.size(0), queries_);
    for (int64_t begin = 0; begin < positions_T.size(0); begin += kRows) {
      const at::Tensor positions_R = positions_T.slice(0, begin, begin + kRows);
      const at::Tensor rows_R = positions_R.to(full.q_THd.device());
      const int64_t N = positions_R[-1].item<int64_t>() + 1;
      const at::Tensor distance_RN = rows_R.unsqueeze(1) - at::arange(N, rows_R.options());
      const at::Tensor noise = noise_2RN(full, model, rows_R, N);
      const at::Tensor pairs_RN = at::full_like(noise[0], full.q_THd.size(1));
      const at::Tensor terms_3RN = at::cat({pairs_RN.unsqueeze(0), noise}) * (distance_RN >= 0);
      sums.position_B3.index_add_(0, positions_R.floor_divide(Sums::position_width(longest)),
                                  terms_3RN.sum(2).t().to(at::kCPU));
      std::vector<at::Tensor> bins;
      for (int64_t bin = 0; bin < sums.distance_B3.size(0); ++bin) {
        const at::Tensor in_bin_RN =
            (distance_RN >= Sums::distance_begin(bin)).logical_and(distance_RN < Sums::distance_begin(bin + 1));
        bins.push_back((terms_3RN * in_bin_RN).sum({1, 2}));
      }
      sums.distance_B3 += at::stack(bins).to(at::kCPU);
    }
  }

  static void add_rows(const std::string& layer, const Sums& sums, int64_t longest, CsvTable& table) {
    const auto add = [&](const char* by, const at::Tensor& sums_B3, auto begin_of) {
      for (int64_t bin = 0; bin < sums_B3.size(0); ++bin) {
        const auto pairs = sums_B3[bin][0].item<double>();
        if (pairs == 0) continue;
        table.rows.push_back({layer, by, std::to_string(begin_of(bin)), std::to_string(begin_of(bin + 1)),
                              fmt::format("{:.0f}", pairs), csv_number(sums_B3[bin][1].item<double>() / pairs),
                              csv_number(sums_B3[bin][2].item<double>() / pairs)});
      }
    };
    add("distance", sums.distance_B3, Sums::distance_begin);
    add("position", sums.position_B3, [&](int64_t bin) { return bin * Sums::position_width(longest); });
  }

  int64_t queries_;  ///< positions inspected in each window; 0: all
  int64_t windows_;
};

const Register<Diagnostic, LogitNoise> kLogitNoise{
    "logit_noise", "noise of the attention logits by distance of query and key, and by position",
    "{type: logit_noise, queries: 256, windows: 1}"};

}  // namespace
}  // namespace qroar
