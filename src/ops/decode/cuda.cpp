// D hidden size, H query heads, K key/value heads, d head_dim, F intermediate size, C capacity in tokens.
#include "ops/decode/cuda.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "base/error.h"
#include "ops/cuda/element.h"

namespace qroar::ops::cuda {

#ifdef QROAR_HAVE_CUDA

namespace {

/// Shared memory that every GPU since 2020 has for two blocks.
constexpr int64_t kInputBytes = 64 << 10;

/// Returns whether x is on a GPU, has that dtype, and every row of the last dimension consists of complete aligned
/// chunks.
bool is_in_chunks(const at::Tensor& x, at::ScalarType dtype) {
  constexpr int64_t kChunk = 16;
  const auto is_whole = [&](int64_t elements) { return elements * x.element_size() % kChunk == 0; };
  if (!kernels_support(x) || x.scalar_type() != dtype || x.stride(-1) != 1 || !is_whole(x.size(-1)) ||
      reinterpret_cast<uintptr_t>(x.const_data_ptr()) % kChunk != 0)
    return false;
  const auto strides = x.strides().slice(0, static_cast<std::size_t>(x.dim() - 1));
  return std::ranges::all_of(strides, is_whole);
}

bool takes(const Weights& linear, at::ScalarType dtype) {
  const at::Tensor& bias_O = linear.bias_O;
  return is_in_chunks(linear.weight_OI, dtype) &&
         (!bias_O.defined() || (kernels_support(bias_O) && bias_O.scalar_type() == dtype && bias_O.is_contiguous())) &&
         linear.weight_OI.size(1) * linear.weight_OI.element_size() <= kInputBytes;
}

bool takes_head(int64_t dim) { return dim == 32 || dim == 64 || dim == 128; }

kernels::RowWeights row_weights(const Weights& linear) {
  return {linear.weight_OI.const_data_ptr(), linear.weight_OI.stride(0),
          linear.bias_O.defined() ? linear.bias_O.const_data_ptr() : nullptr, linear.weight_OI.size(0)};
}

/// Returns an input without norm.
kernels::RowInput row_input(const at::Tensor& x_1I) { return {x_1I.const_data_ptr(), x_1I.size(1), nullptr, 0}; }

void linear_row(const kernels::RowInput& input, std::span<const kernels::RowWeights> layers, kernels::RowResult result,
                at::Tensor& out) {
  check(std::ssize(layers) <= kernels::kMaxRowLayers, "a kernel takes few layers");
  check_launch("linear", kernels::linear_row(input, layers.data(), static_cast<int>(layers.size()), result,
                                             out.mutable_data_ptr(), element_of(out)));
}

void attend_row(const kernels::RowQuery& in, at::Tensor& out) {
  at::Tensor scratch = at::empty({kernels::row_scratch(in.heads, in.dim, in.keys)}, out.options().dtype(at::kByte));
  check_launch("attention",
               kernels::attend_row(in, scratch.mutable_data_ptr(), out.mutable_data_ptr(), element_of(out)));
}

float score_scale(const AttentionOptions& options, int64_t dim) { return 1 / static_cast<float>(options.divisor(dim)); }

}  // namespace

bool supports_row_linear(const at::Tensor& x_TI, const std::vector<Weights>& weights) {
  return x_TI.size(0) == 1 && weights.size() <= kernels::kMaxRowLayers && is_in_chunks(x_TI, x_TI.scalar_type()) &&
         std::ranges::all_of(weights, [&](const Weights& one) { return takes(one, x_TI.scalar_type()); });
}

std::vector<at::Tensor> linears(const at::Tensor& x_1I, const std::vector<Weights>& weights) {
  std::vector<kernels::RowWeights> layers;
  int64_t rows = 0;
  for (const Weights& one : weights) {
    layers.push_back(row_weights(one));
    rows += one.weight_OI.size(0);
  }
  at::Tensor out_1O = at::empty({1, rows}, x_1I.options());
  linear_row(row_input(x_1I), layers, kernels::RowResult::store, out_1O);
  std::vector<at::Tensor> outputs;
  int64_t first = 0;
  for (const Weights& one : weights) {
    outputs.push_back(out_1O.narrow(1, first, one.weight_OI.size(0)));
    first += one.weight_OI.size(0);
  }
  return outputs;
}

bool supports_row_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd) {
  return q_THd.size(0) == 1 && kernels_support(q_THd) && q_THd.is_contiguous() && takes_head(q_THd.size(2)) &&
         is_in_chunks(k_NKd, q_THd.scalar_type()) && is_in_chunks(v_NKd, q_THd.scalar_type());
}

at::Tensor attention_row(const at::Tensor& q_1Hd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                         const AttentionOptions& options) {
  at::Tensor out_1Hd = at::empty(q_1Hd.sizes(), q_1Hd.options());
  const int64_t dim = q_1Hd.size(2);
  // The kernel writes to the cache only if there is a new key.
  attend_row({q_1Hd.const_data_ptr(), nullptr, nullptr, nullptr, nullptr, const_cast<void*>(k_NKd.const_data_ptr()),
              const_cast<void*>(v_NKd.const_data_ptr()), k_NKd.stride(0), k_NKd.stride(1), v_NKd.stride(0),
              v_NKd.stride(1), q_1Hd.size(1), k_NKd.size(1), dim, k_NKd.size(0), score_scale(options, dim)},
             out_1Hd);
  return out_1Hd;
}

bool can_decode_layer(const at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C) {
  const at::ScalarType dtype = x_1D.scalar_type();
  const auto is_row = [&](const at::Tensor& x) { return is_in_chunks(x, dtype); };
  const int64_t dim = layer.key_CKd.size(2);
  return x_1D.size(0) == 1 && layer.rope && !layer.q_norm_d.defined() && 2 * angles_C.cos_TP.size(1) == dim &&
         is_row(x_1D) && is_row(layer.input_norm_D) && is_row(layer.post_attention_norm_D) && is_row(layer.key_CKd) &&
         is_row(layer.value_CKd) && takes_head(dim) && angles_C.cos_TP.scalar_type() == at::kFloat &&
         angles_C.cos_TP.is_contiguous() && angles_C.sin_TP.is_contiguous() &&
         std::ranges::all_of(layer.linears(), [&](const Weights* linear) { return takes(*linear, dtype); });
}

void decode_layer_(at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C, int64_t position) {
  // The new key, at `position`, is the last one that the query sees.
  const int64_t first = layer.attention.first(position + 1);
  const at::Tensor key_CKd = layer.key_CKd.slice(0, first), value_CKd = layer.value_CKd.slice(0, first);
  const int64_t queries = layer.q_proj.weight_OI.size(0), kv_heads = key_CKd.size(1), dim = key_CKd.size(2),
                keys = kv_heads * dim;
  const auto row = [&](int64_t size) { return at::empty({1, size}, x_1D.options()); };
  at::Tensor qkv = row(queries + 2 * keys), mixed = row(queries), gated = row(layer.gate_proj.weight_OI.size(0));
  const auto normed = [&](const at::Tensor& weight_D) -> kernels::RowInput {
    return {x_1D.const_data_ptr(), x_1D.size(1), weight_D.const_data_ptr(), static_cast<float>(layer.rms_norm_eps)};
  };
  const auto after = [&](int64_t elements) {
    return static_cast<const void*>(static_cast<const char*>(qkv.const_data_ptr()) + elements * qkv.element_size());
  };
  const auto angles_of = [&](const at::Tensor& x_TP) {
    return x_TP.const_data_ptr<float>() + position * x_TP.stride(0);
  };
  linear_row(normed(layer.input_norm_D),
             std::array{row_weights(layer.q_proj), row_weights(layer.k_proj), row_weights(layer.v_proj)},
             kernels::RowResult::store, qkv);
  attend_row({qkv.const_data_ptr(), after(queries), after(queries + keys), angles_of(angles_C.cos_TP),
              angles_of(angles_C.sin_TP), key_CKd.mutable_data_ptr(), value_CKd.mutable_data_ptr(), key_CKd.stride(0),
              key_CKd.stride(1), value_CKd.stride(0), value_CKd.stride(1), queries / dim, kv_heads, dim,
              position + 1 - first, score_scale(layer.attention, dim)},
             mixed);
  linear_row(row_input(mixed), std::array{row_weights(layer.o_proj)}, kernels::RowResult::add, x_1D);
  linear_row(normed(layer.post_attention_norm_D), std::array{row_weights(layer.gate_proj), row_weights(layer.up_proj)},
             kernels::RowResult::silu_mul, gated);
  linear_row(row_input(gated), std::array{row_weights(layer.down_proj)}, kernels::RowResult::add, x_1D);
}

#else

namespace {

[[noreturn]] void fail_without_kernels() { fail("this program was built without CUDA kernels"); }

}  // namespace

bool supports_row_linear(const at::Tensor&, const std::vector<Weights>&) { return false; }
bool supports_row_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&) { return false; }
bool can_decode_layer(const at::Tensor&, const CachedLayer&, const RopeAngles&) { return false; }
std::vector<at::Tensor> linears(const at::Tensor&, const std::vector<Weights>&) { fail_without_kernels(); }
at::Tensor attention_row(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttentionOptions&) {
  fail_without_kernels();
}
void decode_layer_(at::Tensor&, const CachedLayer&, const RopeAngles&, int64_t) { fail_without_kernels(); }

#endif

}  // namespace qroar::ops::cuda
