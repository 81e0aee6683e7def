// D hidden size, H query heads, K key/value heads, d head_dim, F intermediate size, C capacity in tokens.
#include <algorithm>
#include <array>

#include "ops/cpu/row_steps.h"
#include "ops/decode/cpu.h"
#include "ops/decode/team.h"

namespace qroar::ops::cpu {
namespace {

template <class T>
std::unique_ptr<T[]> buffer(int64_t count) {
  return std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(count));
}

Rows rows(const Weights& linear, Bf16* out) {
  return {bits(linear.weight_OI), linear.weight_OI.stride(0), linear.bias_O.defined() ? bits(linear.bias_O) : nullptr,
          out, linear.weight_OI.size(0)};
}

void add_row(Bf16* x, const Bf16* y, const Team::Part& part) {
  for (int64_t i = part.begin; i < part.end; ++i) x[i] = narrow<Bf16>(widen(x[i]) + widen(y[i]));
}

bool is_contiguous_or_undefined(const at::Tensor& bias_O) { return !bias_O.defined() || is_bfloat16_on_cpu(bias_O); }

}  // namespace

bool can_decode_layer(const at::Tensor& x_1D, const CachedLayer& layer) {
  const auto takes = [](const Weights* linear) {
    return is_bfloat16_on_cpu(linear->weight_OI) && is_contiguous_or_undefined(linear->bias_O);
  };
  return x_1D.size(0) == 1 && is_bfloat16_on_cpu(x_1D) && is_bfloat16_on_cpu(layer.input_norm_D) &&
         is_bfloat16_on_cpu(layer.post_attention_norm_D) && is_bfloat16_on_cpu(layer.key_CKd) &&
         is_bfloat16_on_cpu(layer.value_CKd) && is_contiguous_or_undefined(layer.q_norm_d) &&
         is_contiguous_or_undefined(layer.k_norm_d) && layer.key_CKd.size(2) % kChannels == 0 &&
         std::ranges::all_of(layer.linears(), takes);
}

void decode_layer_(at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C, int64_t position) {
  const int64_t hidden = x_1D.size(1), kv_heads = layer.key_CKd.size(1), dim = layer.key_CKd.size(2),
                queries = layer.q_proj.weight_OI.size(0), heads = queries / dim, keys = kv_heads * dim,
                intermediate = layer.gate_proj.weight_OI.size(0);
  const float *cos = angles_C.cos_TP.const_data_ptr<float>() + position * angles_C.cos_TP.stride(0),
              *sin = angles_C.sin_TP.const_data_ptr<float>() + position * angles_C.sin_TP.stride(0);
  const auto cache = [](const at::Tensor& x_CKd) { return CacheRows{bits(x_CKd), x_CKd.stride(0), x_CKd.stride(1)}; };
  const auto written = [&](const at::Tensor& x_CKd, int64_t head) {
    return static_cast<Bf16*>(x_CKd.mutable_data_ptr()) + position * x_CKd.stride(0) + head * x_CKd.stride(1);
  };
  const int64_t first = layer.attention.first(position + 1);
  RowAttention attention(heads, kv_heads, dim, position + 1 - first, cache(layer.key_CKd.slice(0, first)),
                         cache(layer.value_CKd.slice(0, first)));
  const auto qkv = buffer<Bf16>(queries + 2 * keys), mixed = buffer<Bf16>(queries), branch = buffer<Bf16>(hidden),
             gate = buffer<Bf16>(intermediate), up = buffer<Bf16>(intermediate);
  const auto query_pairs = buffer<float>(queries);
  const std::array projections{rows(layer.q_proj, qkv.get()), rows(layer.k_proj, qkv.get() + queries),
                               rows(layer.v_proj, qkv.get() + queries + keys)};
  const std::array output{rows(layer.o_proj, branch.get())}, gates{rows(layer.gate_proj, gate.get())},
      ups{rows(layer.up_proj, up.get())}, down{rows(layer.down_proj, branch.get())};
  Bf16* const x = static_cast<Bf16*>(x_1D.mutable_data_ptr());

  const auto rotate_and_keep = [&](int64_t head) {  // index among the heads of queries, keys and values
    Bf16* const own = qkv.get() + head * dim;
    const at::Tensor& norm_d = head < heads ? layer.q_norm_d : layer.k_norm_d;
    if (head < heads + kv_heads && norm_d.defined()) rms_norm_row(own, bits(norm_d), layer.rms_norm_eps, own, dim);
    if (head < heads + kv_heads && layer.rope) rotate_head(own, cos, sin, angles_C.cos_TP.size(1));
    if (head < heads) {
      widen_pairs(own, dim, 1 / static_cast<float>(layer.attention.divisor(dim)), query_pairs.get() + head * dim);
    } else {
      const bool is_key = head < heads + kv_heads;
      std::copy_n(own, dim, written(is_key ? layer.key_CKd : layer.value_CKd, head - heads - (is_key ? 0 : kv_heads)));
    }
  };
  as_team([&](const Team& team) {
    // Every thread needs these completely and computes them faster than it could wait for another thread.
    const auto normed = buffer<Bf16>(hidden);
    const auto pairs = buffer<float>(std::max({hidden, queries, intermediate}));
    const auto norm = [&](const at::Tensor& weight_D) {
      rms_norm_row(x, bits(weight_D), layer.rms_norm_eps, normed.get(), hidden);
      widen_pairs(normed.get(), hidden, 1, pairs.get());
    };
    const auto add = [&](std::span<const Rows> branch_rows, const Bf16* input, int64_t inputs) {
      widen_pairs(input, inputs, 1, pairs.get());
      const Team::Part own = team.share(hidden);
      dot_rows(branch_rows, own.begin, own.end, pairs.get(), inputs);
      add_row(x, branch.get(), own);
    };

    norm(layer.input_norm_D);
    const Team::Part projected = team.share(queries + 2 * keys);
    dot_rows(projections, projected.begin, projected.end, pairs.get(), hidden);
    team.barrier();
    const Team::Part rotated = team.share(heads + 2 * kv_heads);
    for (int64_t head = rotated.begin; head < rotated.end; ++head) rotate_and_keep(head);
    team.barrier();
    const Team::Part attended = team.share(attention.tasks());
    attention.attend(query_pairs.get(), attended.begin, attended.end);
    team.barrier();
    const Team::Part joined = team.share(heads);
    attention.join(joined.begin, joined.end, mixed.get());
    team.barrier();
    add(output, mixed.get(), queries);
    team.barrier();

    norm(layer.post_attention_norm_D);
    const auto [begin, end] = team.share(intermediate);
    dot_rows(gates, begin, end, pairs.get(), hidden);
    dot_rows(ups, begin, end, pairs.get(), hidden);
    silu_mul_row(gate.get() + begin, up.get() + begin, gate.get() + begin, end - begin);
    team.barrier();
    add(down, gate.get(), intermediate);
  });
}

}  // namespace qroar::ops::cpu
