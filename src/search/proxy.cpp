// Dimensions: T tokens, H query heads, K key heads, d head_dim, P pairs, R sampled queries of a block, B bands.
#include "search/proxy.h"

#include <algorithm>
#include <cmath>

#include "diagnostics/attention_rows.h"
#include "diagnostics/heads.h"

namespace qroar {
namespace {

constexpr int64_t kQueries = 128;  ///< evenly spaced queries sampled in every window
constexpr int64_t kBlockRows = 16;

/// The queries and keys of one layer, after RoPE.
struct QueryKey {
  at::Tensor query_THd, key_TKd;

  HeadsObserver::Visit visit() {
    return [this](const HeadsPlace& place, const at::Tensor& x_THd) {
      if (place.after_rope) (place.is_key ? key_TKd : query_THd) = x_THd;
    };
  }
};

/// Returns the contribution of some pairs to the logits [K, H/K, R, keys] of the queries rows_R, in float32.
at::Tensor part_of_logits(const QueryKey& of, const at::Tensor& rows_R, int64_t keys, int64_t first, int64_t last) {
  const int64_t K = of.key_TKd.size(1), count = last - first;
  const auto chosen = [&](const at::Tensor& x) { return band_of(x, first, last).flatten(-2).to(at::kFloat); };
  const at::Tensor q = chosen(of.query_THd.index_select(0, rows_R)).view({rows_R.size(0), K, -1, 2 * count});
  const at::Tensor k = chosen(of.key_TKd.narrow(0, 0, keys)).permute({1, 2, 0}).unsqueeze(1);
  return at::matmul(q.permute({1, 2, 0, 3}), k);
}

/// Returns the Gram matrix of the bands' logits and the full ones, over one block of queries.
at::Tensor gram(const QueryKey& quantized, const QueryKey& full, const at::Tensor& rows_R,
                const std::vector<int64_t>& edges, const ops::AttentionOptions& options) {
  const int64_t keys = rows_R[-1].item<int64_t>() + 1;
  const at::Tensor seen_RS = visible_keys(rows_R, keys, options);
  const at::Tensor seen = seen_RS.to(at::kFloat), count = seen.sum(-1, /*keepdim=*/true);
  std::vector<at::Tensor> parts;
  const auto add = [&](const at::Tensor& logits) {
    const at::Tensor causal = logits * seen;
    parts.push_back(((causal - causal.sum(-1, /*keepdim=*/true) / count) * seen).reshape({-1}));
  };
  for (std::size_t b = 0; b + 1 < edges.size(); ++b)
    add(part_of_logits(quantized, rows_R, keys, edges[b], edges[b + 1]));
  add(part_of_logits(full, rows_R, keys, 0, edges.back()));
  const at::Tensor stacked = at::stack(parts);
  return at::matmul(stacked, stacked.t()).to(at::kDouble).to(at::kCPU);
}

}  // namespace

LogitDistortion::LogitDistortion(const SearchInput& input, const std::vector<Window>& windows,
                                 const std::vector<int64_t>& edges, Journal& journal)
    : edges_(edges) {
  const auto size = static_cast<int64_t>(edges.size());
  if (const auto known = journal.find("distortion", {})) {
    for (const auto& form : (*known)["forms"].get<std::vector<std::vector<double>>>()) {
      forms_.push_back(at::tensor(form, at::kDouble).view({size, size}));
    }
    return;
  }
  for (std::size_t i = 0; i < input.full.layers.size(); ++i) forms_.push_back(at::zeros({size, size}, at::kDouble));
  measure(input, windows);
  std::vector<std::vector<double>> rows;
  for (const at::Tensor& form : forms_) {
    rows.emplace_back(form.const_data_ptr<double>(), form.const_data_ptr<double>() + form.numel());
  }
  journal.add("distortion", {}, {{"forms", rows}});
}

void LogitDistortion::measure(const SearchInput& input, const std::vector<Window>& windows) {
  const Llama& rounded = input.quantized().model;
  for (const Window& window : windows) {
    const Document& document = input.documents[static_cast<std::size_t>(window.document)];
    const at::Tensor tokens_T = window_tokens(document, window, input.feed, input.full);
    const ops::RopeAngles angles = input.angles_of(tokens_T.size(0));
    const int64_t T = tokens_T.size(0);
    const at::Tensor rows =
        at::linspace(0, T - 1, std::min(T, kQueries), tokens_T.options().dtype(at::kDouble)).to(at::kLong);
    at::Tensor full_TD = embed(input.full, tokens_T), quantized_TD = embed(rounded, tokens_T);
    QueryKey full, quantized;
    HeadsObserver see_full(input.full, angles, full.visit()), see_quantized(input.full, angles, quantized.visit());
    for (std::size_t i = 0; i < forms_.size(); ++i) {
      decoder_layer(input.full.layers[i], input.full.config, full_TD, angles, &see_full);
      decoder_layer(rounded.layers[i], input.full.config, quantized_TD, angles, &see_quantized);
      const DecoderLayer& layer = input.full.layers[i];
      if (!layer.heads.rope) continue;
      for (const at::Tensor& rows_R : rows.split(kBlockRows))
        forms_[i] += gram(quantized, full, rows_R, edges_, layer.attention);
    }
  }
}

double LogitDistortion::operator()(const BandScales& scales) const {
  const at::Tensor product_LP = (scales.query_LKP() * scales.key_LKP()).squeeze(1);
  const at::Tensor product_LB = product_LP.index_select(1, at::tensor(edges_, at::kLong).slice(0, 0, -1));
  double sum = 0;
  int64_t counted = 0;
  for (std::size_t i = 0; i < forms_.size(); ++i) {
    const double full_size = forms_[i][-1][-1].item<double>();
    if (full_size == 0) continue;  // a layer without RoPE has no bands
    ++counted;
    const auto own = scales.layout.layers == 1 ? 0 : static_cast<int64_t>(i);
    const at::Tensor a = at::cat({product_LB[own], at::full({1}, -1, at::kDouble)});
    sum += at::dot(a, at::mv(forms_[i], a)).item<double>() / full_size;
  }
  return sum / static_cast<double>(counted);
}

}  // namespace qroar
