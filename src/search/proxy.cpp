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

/// The queries and keys of a layer that has RoPE, after it.
class QueryKey : public Observer {
 public:
  explicit QueryKey(const ops::RopeAngles& angles) : angles_(angles) {}
  void on(std::string_view site, const at::Tensor& value) override {
    const bool is_key = site.ends_with(".k_proj");
    if (!is_key && !site.ends_with(".q_proj")) return;
    at::Tensor& turned = is_key ? key_TKd : query_THd;
    turned = value.clone();
    ops::rope_(turned, angles_);
  }

  at::Tensor query_THd, key_TKd;

 private:
  const ops::RopeAngles& angles_;
};

/// Some channels of a head [.., d].
using Channels = std::function<at::Tensor(const at::Tensor&)>;

/// Returns the contribution of some channels to the logits [K, H/K, R, keys] of the queries rows_R, in float32.
at::Tensor part_of_logits(const QueryKey& of, const at::Tensor& rows_R, int64_t keys, const Channels& channels) {
  const int64_t K = of.key_TKd.size(1);
  const at::Tensor q = channels(of.query_THd.index_select(0, rows_R)).to(at::kFloat);
  const at::Tensor k = channels(of.key_TKd.narrow(0, 0, keys)).to(at::kFloat).permute({1, 2, 0}).unsqueeze(1);
  return at::matmul(q.view({rows_R.size(0), K, -1, q.size(2)}).permute({1, 2, 0, 3}), k);
}

/// Returns the Gram matrix of the quantized model's logits by band, of what channels without RoPE add to them where
/// there are any, and of the full ones, over one block of queries.
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
  const int64_t rotated = 2 * edges.back(), d = full.key_TKd.size(2);
  for (std::size_t b = 0; b + 1 < edges.size(); ++b) {
    add(part_of_logits(quantized, rows_R, keys, [&](const at::Tensor& x) {
      return band_of(x.slice(-1, 0, rotated), edges[b], edges[b + 1]).flatten(-2);
    }));
  }
  if (rotated < d) {
    add(part_of_logits(quantized, rows_R, keys, [&](const at::Tensor& x) { return x.slice(-1, rotated, d); }));
  }
  add(part_of_logits(full, rows_R, keys, [](const at::Tensor& x) { return x; }));
  const at::Tensor stacked = at::stack(parts);
  return at::matmul(stacked, stacked.t()).to(at::kDouble).to(at::kCPU);
}

}  // namespace

LogitDistortion::LogitDistortion(const SearchInput& input, const std::vector<Window>& windows,
                                 const std::vector<int64_t>& edges, Journal& journal)
    : edges_(edges) {
  const LlamaConfig& config = input.full.config;
  const auto size = std::ssize(edges) + (config.rotary_dim() < config.head_dim ? 1 : 0);
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
  Llama exact = input.full;  // with heads in the order of the rounded model's
  redraw(input.plan.rounding, exact);
  for (const Window& window : windows) {
    const Document& document = input.documents[static_cast<std::size_t>(window.document)];
    const at::Tensor tokens_T = window_tokens(document, window, input.feed, input.full);
    const ops::RopeAngles angles = input.angles_of(tokens_T.size(0));
    const int64_t T = tokens_T.size(0);
    const at::Tensor rows =
        at::linspace(0, T - 1, std::min(T, kQueries), tokens_T.options().dtype(at::kDouble)).to(at::kLong);
    at::Tensor full_TD = embed(exact, tokens_T), quantized_TD = embed(rounded, tokens_T);
    QueryKey full(angles), quantized(angles);
    for (std::size_t i = 0; i < forms_.size(); ++i) {
      const DecoderLayer& layer = exact.layers[i];
      decoder_layer(layer, exact.config, full_TD, angles, &full);
      decoder_layer(rounded.layers[i], exact.config, quantized_TD, angles, &quantized);
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
    const int64_t unscaled = forms_[i].size(0) - 1 - product_LB.size(1);
    const at::Tensor a = at::cat({product_LB[own], at::ones({unscaled}, at::kDouble), at::full({1}, -1, at::kDouble)});
    sum += at::dot(a, at::mv(forms_[i], a)).item<double>() / full_size;
  }
  return sum / static_cast<double>(counted);
}

}  // namespace qroar
