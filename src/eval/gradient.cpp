// Dimensions: L layers, K heads of keys, G queries of each, T tokens, D hidden size, H heads, d head_dim, P = d/2
// pairs, V vocabulary, R rows of a block.
#include "eval/gradient.h"

#include <c10/core/GradMode.h>

#include <utility>

#include "base/error.h"
#include "eval/token_losses.h"

namespace qroar {
namespace {

/// Keeps one layer's queries and keys before RoPE, and makes autograd retain their gradients.
class QueriesAndKeys : public Observer {
 public:
  void on(std::string_view site, const at::Tensor& value) override {
    if (site.ends_with(".q_proj")) keep(value, q_THd);
    if (site.ends_with(".k_proj")) keep(value, k_TKd);
  }

  at::Tensor q_THd, k_TKd;

 private:
  static void keep(const at::Tensor& value, at::Tensor& member) {
    value.retain_grad();
    member = value;
  }
};

/// Returns the derivative with respect to the logarithm of each pair's scale, [K, P]; neighbouring heads share one of
/// K.
at::Tensor by_log_scale(const at::Tensor& x_THd, int64_t K, int64_t P) {
  const auto dtype = ops::wide_dtype(x_THd);
  const at::Tensor products_THd = (x_THd.detach().to(dtype) * x_THd.grad().to(dtype)).slice(2, 0, 2 * P);
  const at::Tensor products_TKGd = products_THd.unflatten(1, {K, -1});
  return products_TKGd.sum(at::IntArrayRef{0, 2}, /*keepdim=*/false, at::kDouble).view({K, 2, -1}).sum(1).cpu();
}

/// Returns the angles of frequencies that are larger by delta, to first order: at delta = 0 the same angles.  In
/// float64, since positions weigh what sums to the derivative.
ops::RopeAngles shifted(const ops::RopeAngles& angles, const at::Tensor& delta_P) {
  const at::Tensor turn_TP =
      at::arange(angles.cos_TP.size(0), delta_P.options().requires_grad(false)).unsqueeze(1) * delta_P;
  const auto plus = [&](const at::Tensor& x_TP, const at::Tensor& slope_TP) {
    return x_TP + (slope_TP.to(at::kDouble) * turn_TP).to(x_TP.scalar_type());
  };
  return {plus(angles.cos_TP, -angles.sin_TP), plus(angles.sin_TP, angles.cos_TP)};
}

/// Returns the inputs [T, D] of all layers, and the last layer's output.
std::vector<at::Tensor> residual_stream(const Llama& model, const at::Tensor& tokens_T, const ops::RopeAngles& angles) {
  const c10::NoGradGuard no_grad;
  at::Tensor x_TD = embed(model, tokens_T);
  std::vector<at::Tensor> stream{x_TD.clone()};
  for (const DecoderLayer& layer : model.layers) {
    decoder_layer(layer, model.config, x_TD, angles);
    stream.push_back(x_TD.clone());
  }
  return stream;
}

/// Returns the scored tokens' summed NLL and its gradient [T, D] with respect to the last layer's output.
std::pair<double, at::Tensor> head_gradient(const Llama& model, const at::Tensor& x_TD, const at::Tensor& tokens_T,
                                            int64_t scored) {
  double sum = 0;
  at::Tensor grad_TD = at::zeros_like(x_TD);
  const int64_t last = tokens_T.size(0) - 1;
  for (int64_t begin = last - scored; begin < last; begin += kLogitRows) {
    const int64_t end = std::min(begin + kLogitRows, last);
    const at::Tensor x_RD = x_TD.slice(0, begin, end).detach().requires_grad_();
    const at::Tensor hidden_RD = ops::rms_norm(x_RD, model.norm_D, model.config.rms_norm_eps);
    const at::Tensor nll = ops::token_nll(logits(model, hidden_RD), tokens_T.slice(0, begin + 1, end + 1)).sum();
    nll.backward();
    sum += nll.item<double>();
    grad_TD.slice(0, begin, end).copy_(x_RD.grad());
  }
  return {sum, grad_TD};
}

}  // namespace

ScaleGradient scale_gradient(const Llama& model, const at::Tensor& tokens_T, const ops::RopeAngles& all_angles,
                             int64_t scored, int64_t heads) {
  const int64_t T = tokens_T.size(0), L = model.config.num_hidden_layers, P = model.config.pairs();
  check(0 < scored && scored < T, "scale_gradient scores a token or more, and not the first");
  const ops::RopeAngles angles{all_angles.cos_TP.slice(0, 0, T), all_angles.sin_TP.slice(0, 0, T)};
  std::vector<at::Tensor> stream = residual_stream(model, tokens_T, angles);

  const c10::AutoGradMode grad_mode(true);
  // Differentiates the sum and not the mean: its gradients of order 1 are in float16's range for every T.
  auto [nll_sum, grad_TD] = head_gradient(model, stream.back(), tokens_T, scored);
  ScaleGradient result{nll_sum / static_cast<double>(scored), at::empty({L, heads, P}, at::kDouble),
                       at::empty({L, heads, P}, at::kDouble), at::empty({L, P}, at::kDouble)};
  for (int64_t n = L - 1; n >= 0; --n) {
    stream.pop_back();
    const at::Tensor input_TD = stream.back().requires_grad_();
    at::Tensor x_TD = input_TD;
    const at::Tensor delta_P = at::zeros({P}, angles.cos_TP.options().dtype(at::kDouble)).requires_grad_();
    QueriesAndKeys seen;
    const DecoderLayer& layer = model.layers[static_cast<std::size_t>(n)];
    decoder_layer(layer, model.config, x_TD, shifted(angles, delta_P), &seen);
    x_TD.backward(grad_TD);
    grad_TD = input_TD.grad();
    if (!layer.heads.rope) {  // it has no pairs
      for (at::Tensor* x : {&result.query_LKP, &result.key_LKP, &result.frequency_LP}) (*x)[n].zero_();
      continue;
    }
    at::Tensor order_K = at::arange(heads);
    if (heads > 1 && !layer.key_heads.empty()) order_K = at::tensor(layer.key_heads, at::kLong);
    result.query_LKP[n].index_copy_(0, order_K, by_log_scale(seen.q_THd, heads, P) / scored);
    result.key_LKP[n].index_copy_(0, order_K, by_log_scale(seen.k_TKd, heads, P) / scored);
    result.frequency_LP[n].copy_(delta_P.grad() / scored);
  }
  return result;
}

int64_t gradient_bytes(const LlamaConfig& config, int64_t T, int64_t element_size) {
  // One layer: gate, up, what they become and the gradients; norms, heads, sublayers and their gradients.
  const int64_t one_layer = 6 * config.intermediate_size + 12 * config.hidden_size;
  return T * (config.num_hidden_layers * config.hidden_size + one_layer) * element_size;
}

}  // namespace qroar
