// Dimensions: D hidden size, V vocabulary, O outputs and I inputs of a layer.
#include "quant/rotation.h"

#include <algorithm>
#include <random>

#include "base/error.h"
#include "ops/hadamard.h"
#include "quant/by_rows.h"

namespace qroar {
namespace {

/// Throws an Error at `place` when there is no Hadamard matrix of that size.
void check_size(const Config& place, const std::string& name, int64_t size, const std::string& remedy) {
  try {
    ops::hadamard_order(size);
  } catch (const Error& error) {
    place.fail(fmt::format("{} is {}: {}; {}", name, size, error.what(), remedy));
  }
}

/// The rotation R = H diag(signs) of the residual stream, for rows in float64 on the model's device.
class Residual {
 public:
  Residual(int64_t hidden_size, uint64_t seed, const at::Device& device) : hadamard_(hidden_size, at::kDouble, device) {
    std::mt19937_64 random(seed);
    std::vector<double> signs(static_cast<std::size_t>(hidden_size));
    for (double& sign : signs) sign = random() >> 63 ? -1 : 1;
    signs_D_ = at::tensor(signs, at::kDouble).to(device);
  }

  at::Tensor operator()(const at::Tensor& rows_D) const { return hadamard_(rows_D * signs_D_); }

 private:
  ops::Hadamard hadamard_;
  at::Tensor signs_D_;
};

/// Folds into a layer that reads the stream after a norm: W diag(norm) R^T.
void fold_reader(const Residual& residual, const at::Tensor& norm_D, Linear& linear) {
  const at::Tensor scale_D = norm_D.to(at::kDouble);
  linear.change([=](const at::Tensor& weight_OD) {
    return by_rows(weight_OD, [&](const at::Tensor& rows_OD) { return residual(rows_OD * scale_D); });
  });
}

/// Folds into a layer that writes to the stream: R W, and R b; where `online`, H on its `inputs` inputs and H^T after
/// the weight.  `options`: of the weight.
void fold_writer(const Residual& residual, bool online, int64_t inputs, const at::TensorOptions& options,
                 Linear& linear) {
  const auto dtype = c10::typeMetaToScalarType(options.dtype());
  if (online) {
    linear.input = {ops::Hadamard(inputs, dtype, options.device()), /*couples_tokens=*/false, /*differentiable=*/true};
  }
  linear.change([=](const at::Tensor& stored_DI) {
    at::Tensor weight_DI = stored_DI.to(at::kDouble);
    if (online) weight_DI = ops::Hadamard(inputs, at::kDouble, weight_DI.device())(weight_DI);
    return residual(weight_DI.t()).t().to(dtype, /*non_blocking=*/false, /*copy=*/false, at::MemoryFormat::Contiguous);
  });
  if (linear.bias_O.defined()) linear.bias_O = residual(linear.bias_O.to(at::kDouble)).to(dtype);
}

}  // namespace

Rotation::Rotation(const Config& config, const LlamaConfig& llama)
    : hadamard(config.get_choice<bool>("type", false, {{"none", false}, {"hadamard", true}})) {
  if (!hadamard) return;
  seed = static_cast<uint64_t>(config.get<int64_t>("seed", 0, {0}));
  check_size(config, "hidden_size", llama.hidden_size, "this model cannot be rotated");
  struct Online {
    std::string name, size_name;
    int64_t size;
    bool& chosen;
  };
  const std::vector<Online> known{
      {"o_proj", "num_attention_heads * head_dim", llama.num_attention_heads * llama.head_dim, o_proj},
      {"down_proj", "intermediate_size", llama.intermediate_size, down_proj},
      {"qk", "head_dim", llama.head_dim, qk}};
  for (const Config& entry : config.at("online", "[o_proj, down_proj, qk]").items()) {
    const auto name = entry.as<std::string>();
    const auto found = std::ranges::find(known, name, &Online::name);
    if (found == known.end()) entry.fail(fmt::format("unknown '{}'; known: o_proj, down_proj, qk", name));
    if (found->chosen) entry.fail(fmt::format("'{}' is listed twice; remove one", name));
    check_size(entry, found->size_name, found->size, "leave it out of `online`");
    found->chosen = true;
  }
}

void rotate(const Rotation& rotation, Llama& model) {
  if (!rotation.hadamard) return;
  const at::Tensor& embed_VD = model.embed_tokens_VD;
  const Residual residual(model.config.hidden_size, rotation.seed, embed_VD.device());
  fold_reader(residual, model.norm_D, model.lm_head);
  model.norm_D = at::ones_like(model.norm_D);
  model.embed_tokens_VD = by_rows(embed_VD, residual);
  for (DecoderLayer& layer : model.layers) {
    for (Linear* reader : {&layer.q_proj, &layer.k_proj, &layer.v_proj}) {
      fold_reader(residual, layer.input_norm_D, *reader);
    }
    for (Linear* reader : {&layer.gate_proj, &layer.up_proj}) {
      fold_reader(residual, layer.post_attention_norm_D, *reader);
    }
    const LlamaConfig& config = model.config;
    fold_writer(residual, rotation.o_proj, config.num_attention_heads * config.head_dim, embed_VD.options(),
                layer.o_proj);
    fold_writer(residual, rotation.down_proj, config.intermediate_size, embed_VD.options(), layer.down_proj);
    layer.input_norm_D = at::ones_like(layer.input_norm_D);
    layer.post_attention_norm_D = at::ones_like(layer.post_attention_norm_D);
    if (rotation.qk) {
      const ops::Hadamard hadamard(model.config.head_dim, embed_VD.scalar_type(), embed_VD.device());
      layer.heads.rotate = {hadamard, /*couples_tokens=*/false, /*differentiable=*/true};
    }
  }
}

}  // namespace qroar
