// Noise of the attention logits l = q.k / sqrt(d) and what it does to attention, by the distance m - n of query and
// key, by the query's position and by RoPE band (docs/method.md 3.7, our definition).  Each model runs on its own
// hidden states, so the noise includes that of earlier layers, as in use.  The logits are those after RoPE and all head
// transforms, of causal pairs only, with products in float32 (float64 for a float64 model).  Every logit, and its error
// l_model - l_full, is taken less its mean over the query's keys: softmax does not see a shift that all keys share.
// Keys are those of the cache: where a `residual` window lets a query see its nearest keys exactly, their noise is
// overestimated.  A rotation of the heads mixes the pairs: then there are no rows by band.
// Columns: layer (empty: all), by (all, distance, position or band), begin and end (tokens, end excluded: distances 0,
// 1, 2-3, 4-7 ..., positions in 16 equal parts of the longest window; of a band its pairs), documents, pairs (number of
// logits, over all heads and windows), noise, noise_low, noise_high (mean |error|), magnitude (mean |l_full|), queries
// (number of rows of attention that have such keys), kl, kl_low, kl_high (mean over queries of KL(full || model), nats;
// not by distance), moved, moved_low, moved_high (mean over queries of half the sum of |p_model - p_full| over those
// keys, the share of attention mass that moves).  By band kl and moved are those of attention whose logits have the
// band's error alone.  Low and high: 95 % interval over documents.
// T tokens, H query heads, K key/value heads, G = H / K, d head_dim, R query rows of a block, N keys, B bins.
#include <bit>

#include "diagnostics/attention_rows.h"
#include "diagnostics/by_document.h"
#include "diagnostics/diagnostic.h"
#include "rope/bands.h"

namespace qroar {
namespace {

/// Returns the number of queries whose logits with all keys, summed over heads, are held at a time: on the CPU those of
/// a head, in float64, stay in a core's cache.
int64_t block_rows(const at::Tensor& x) { return x.is_cpu() ? 4 : 32; }
constexpr int64_t kPositionBins = 16;

/// Returns the model with layers that store their queries and keys in `seen`.
Llama probed(Llama model, Attended& seen) {
  const auto keep = [](at::Tensor& place) {
    return Transform{[&place](const at::Tensor& x) { return place = x; }, false};
  };
  seen.pairs = model.config.pairs();
  for (DecoderLayer& layer : model.layers) {
    layer.heads.query = layer.heads.query.then(keep(seen.q_THd));
    layer.heads.key = layer.heads.key.then(keep(seen.k_TKd));
  }
  return model;
}

/// What is summed over the pairs of query and key, or over the queries, of a bin.
enum Term : int64_t { kPairs, kNoise, kMagnitude, kQueries, kKl, kMoved, kTerms };

/// The sums of one layer in the windows of one document, float64 on the CPU.
struct Sums {
  at::Tensor distance_BS, position_BS, band_BS;  ///< S: the terms

  Sums(int64_t longest, int64_t bands)
      : distance_BS(at::zeros({distance_bin(longest - 1) + 1, kTerms}, at::kDouble)),
        position_BS(at::zeros({kPositionBins, kTerms}, at::kDouble)),
        band_BS(at::zeros({bands, kTerms}, at::kDouble)) {}

  Sums& operator+=(const Sums& other) {
    distance_BS += other.distance_BS;
    position_BS += other.position_BS;
    band_BS += other.band_BS;
    return *this;
  }
  static int64_t position_width(int64_t longest) { return (longest + kPositionBins - 1) / kPositionBins; }
  static int64_t distance_bin(int64_t distance) {
    return static_cast<int64_t>(std::bit_width(static_cast<uint64_t>(distance)));
  }
  /// Returns where bin b begins: bin 0 has distance 0, the others have distances [begin, 2 begin).
  static int64_t distance_begin(int64_t bin) { return bin == 0 ? 0 : int64_t{1} << (bin - 1); }
};

/// Sums by document.
using DocumentSums = std::map<int64_t, Sums>;

/// Returns `count` positions (0: all) evenly spaced over 0..T-1, including the last.
at::Tensor spread(int64_t T, int64_t count) {
  const int64_t taken = count == 0 ? T : std::min(count, T);
  return at::floor_divide(at::arange(1, taken + 1, at::kLong) * T, taken) - 1;
}

class LogitNoise : public Diagnostic {
 public:
  explicit LogitNoise(const Config& config)
      : queries_(config.get<int64_t>("queries", 256, {0, int64_t{1} << 31})),
        windows_(config.get<int64_t>("windows", 8, {1, 1'000'000})),
        bands_(config) {}

  void check_cell(const LlamaConfig& llama, const WindowRule&) const override { bands_.edges(llama.pairs()); }

  DiagnosticWork work() const override { return {windows_, 12}; }

  CsvTable run(const DiagnosticInput& input) const override {
    int64_t longest = 2;
    const std::vector<Window> windows = input.spread_windows(windows_);
    for (const Window& window : windows) longest = std::max(longest, tokens_seen(window, input.feed));
    const bool rotated = std::ranges::any_of(
        input.full.layers, [](const DecoderLayer& layer) { return static_cast<bool>(layer.heads.rotate.function); });
    const std::vector<int64_t> edges = rotated ? std::vector<int64_t>{0} : bands_.edges(input.full.config.pairs());
    std::vector<DocumentSums> layers(input.full.layers.size());
    for (const Window& window : windows) add_window(input, window, longest, edges, layers);

    CsvTable table{{"layer", "by", "begin", "end", "documents", "pairs", "noise", "noise_low", "noise_high",
                    "magnitude", "queries", "kl", "kl_low", "kl_high", "moved", "moved_low", "moved_high"},
                   {}};
    DocumentSums all;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      add_rows(std::to_string(i), layers[i], longest, edges, table);
      for (const auto& [document, sums] : layers[i])
        all.try_emplace(document, longest, bands(edges)).first->second += sums;
    }
    add_rows("", all, longest, edges, table);
    return table;
  }

 private:
  static int64_t bands(const std::vector<int64_t>& edges) { return std::ssize(edges) - 1; }

  /// Runs both models side by side, so that the queries and keys of only one layer are held at a time.
  void add_window(const DiagnosticInput& input, const Window& window, int64_t longest,
                  const std::vector<int64_t>& edges, std::vector<DocumentSums>& layers) const {
    const at::Tensor tokens_T = input.tokens_T(window);
    const ops::RopeAngles angles = input.angles_of(tokens_T.size(0));
    Attended full_seen, model_seen;
    const Llama full = probed(input.full, full_seen), model = probed(input.model, model_seen);
    at::Tensor full_TD = embed(full, tokens_T), model_TD = embed(model, tokens_T);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      decoder_layer(full.layers[i], full.config, full_TD, angles);
      decoder_layer(model.layers[i], model.config, model_TD, angles);
      full_seen.options = model_seen.options = full.layers[i].attention;
      Sums& sums = layers[i].try_emplace(input.cluster_of(window), longest, bands(edges)).first->second;
      add_layer(full_seen, model_seen, longest, edges, sums);
    }
  }

  void add_layer(const Attended& full, const Attended& model, int64_t longest, const std::vector<int64_t>& edges,
                 Sums& sums) const {
    const at::Tensor positions_T = spread(full.q_THd.size(0), queries_);
    const auto heads = static_cast<double>(full.q_THd.size(1));
    const int64_t block = block_rows(full.q_THd);
    for (int64_t begin = 0; begin < positions_T.size(0); begin += block) {
      const at::Tensor positions_R = positions_T.slice(0, begin, begin + block);
      const at::Tensor rows_R = positions_R.to(full.q_THd.device());
      const int64_t N = positions_R[-1].item<int64_t>() + 1;
      const AttentionRows rows(full, model, rows_R, N);
      const AttentionRows::All found = rows.over_heads(edges);
      const at::Tensor visible_RN = rows.visible_R1N().select(1, 0).to(at::kDouble) * heads;
      /// The terms of every query over the keys of a mask [R, N]: [terms, R].
      const auto terms_of = [&](const at::Tensor& mask_RN) {
        const at::Tensor pairs_R = (visible_RN * mask_RN).sum(1), sums_3R = (found.pairs_3RN * mask_RN).sum(2);
        return at::stack(
            {pairs_R, sums_3R[0], sums_3R[1], (pairs_R > 0).to(at::kDouble) * heads, found.kl_R, sums_3R[2]});
      };
      const at::Tensor all_SR = terms_of(at::ones_like(visible_RN)).to(at::kCPU);
      sums.position_BS.index_add_(0, positions_R.floor_divide(Sums::position_width(longest)), all_SR.t());
      const at::Tensor distance_RN = rows_R.unsqueeze(1) - at::arange(N, rows_R.options());
      std::vector<at::Tensor> bins;
      for (int64_t bin = 0; bin < sums.distance_BS.size(0); ++bin) {
        bins.push_back(
            terms_of(
                (distance_RN >= Sums::distance_begin(bin)).logical_and(distance_RN < Sums::distance_begin(bin + 1)))
                .sum(1));
      }
      sums.distance_BS += at::stack(bins).to(at::kCPU);
      const at::Tensor band_B4 = found.band_B4.to(at::kCPU);
      sums.band_BS.slice(1, kNoise, kMagnitude + 1) += band_B4.slice(1, 0, 2);
      sums.band_BS.slice(1, kKl, kMoved + 1) += band_B4.slice(1, 2, 4);
      for (const Term count : {kPairs, kQueries}) sums.band_BS.select(1, count) += all_SR[count].sum();
    }
  }

  static void add_rows(const std::string& layer, const DocumentSums& documents, int64_t longest,
                       const std::vector<int64_t>& edges, CsvTable& table) {
    const auto add = [&](const std::string& by, int64_t begin, int64_t end, const auto& terms_of) {
      std::array<DocumentMean, kTerms> means;  // of a term, by its pairs or by its queries
      double pairs = 0, queries = 0;
      for (const auto& [document, sums] : documents) {
        const at::Tensor terms_S = terms_of(sums);
        const auto term = [&](Term which) { return terms_S[which].template item<double>(); };
        for (const Term which : {kNoise, kMagnitude}) means[which].add(document, term(kPairs), term(which));
        for (const Term which : {kKl, kMoved}) means[which].add(document, term(kQueries), term(which));
        pairs += term(kPairs);
        queries += term(kQueries);
      }
      if (pairs == 0) return;
      const auto fields = [&](Term which) { return rate_fields(means[which].estimate()); };
      table.rows.push_back(joined({{layer, by, std::to_string(begin), std::to_string(end),
                                    std::to_string(means[kNoise].estimate().clusters), fmt::format("{:.0f}", pairs)},
                                   fields(kNoise),
                                   {csv_number(means[kMagnitude].estimate().value), fmt::format("{:.0f}", queries)},
                                   by == "distance" ? std::vector<std::string>(3) : fields(kKl),
                                   fields(kMoved)}));
    };
    const int64_t width = Sums::position_width(longest);
    add("all", 0, longest, [](const Sums& sums) { return sums.position_BS.sum(0); });
    for (int64_t bin = 0; bin <= Sums::distance_bin(longest - 1); ++bin) {
      add("distance", Sums::distance_begin(bin), Sums::distance_begin(bin + 1),
          [&](const Sums& sums) { return sums.distance_BS[bin]; });
    }
    for (int64_t bin = 0; bin < kPositionBins; ++bin) {
      add("position", bin * width, (bin + 1) * width, [&](const Sums& sums) { return sums.position_BS[bin]; });
    }
    for (int64_t band = 0; band < bands(edges); ++band) {
      const auto at = static_cast<std::size_t>(band);
      add("band", edges[at], edges[at + 1], [&](const Sums& sums) { return sums.band_BS[band]; });
    }
  }

  int64_t queries_;  ///< positions inspected in each window; 0: all
  int64_t windows_;
  BandsOption bands_;
};

const Register<Diagnostic, LogitNoise> kLogitNoise{
    "logit_noise", "noise of the attention logits and of attention, by distance, position and RoPE band",
    "{type: logit_noise, queries: 256, windows: 8, bands: 6}"};

}  // namespace
}  // namespace qroar
