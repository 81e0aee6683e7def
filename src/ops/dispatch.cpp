// The only place that decides which implementation of an op runs.
#include <ATen/Parallel.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/gram.h"
#include "ops/cpu/instruction_sets.h"
#include "ops/cpu/rowwise.h"
#include "ops/cuda/rowwise.h"
#include "ops/decode/cpu.h"
#include "ops/decode/cuda.h"
#include "ops/ops.h"

namespace qroar::ops {
namespace {

/// Rows of queries that share a mask [rows, N].
constexpr int64_t kMaskRows = 256;

/// Rows and columns of the Gram matrix that are summed together, from the diagonal on.
constexpr int64_t kGramRows = 192;

/// The fast ops have no derivatives.
bool use_cpu_rowwise(at::TensorList tensors) { return !is_differentiated(tensors) && cpu::supports_rowwise(tensors); }
bool use_cuda_rowwise(at::TensorList tensors) { return !is_differentiated(tensors) && cuda::supports_rowwise(tensors); }

/// cuDNN builds a plan for every new shape, which takes 50 ms on an H100: more than it saves on a window with fewer
/// tokens than this.  Decoding, where every token has a new shape, took ten times as long with it.
constexpr int64_t kCudnnTokens = 4096;

/// Determines during its lifetime whether ATen may use cuDNN's attention.
class AllowCudnn {
 public:
  explicit AllowCudnn(bool allow) : before_(at::globalContext().userEnabledCuDNNSDP()) {
    at::globalContext().setSDPUseCuDNN(before_ && allow);
  }
  ~AllowCudnn() { at::globalContext().setSDPUseCuDNN(before_); }
  AllowCudnn(const AllowCudnn&) = delete;
  AllowCudnn& operator=(const AllowCudnn&) = delete;

 private:
  bool before_;
};

/// Calls ATen's fused attention: on CPU and CUDA a flash kernel with memory linear in T, forward and backward (on CUDA
/// not for float64).  Repeats heads, since not every kernel of ATen supports fewer key/value heads.
at::Tensor fused_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                           const AttentionOptions& options) {
  const int64_t group = q_THd.size(1) / k_NKd.size(1), T = q_THd.size(0), N = k_NKd.size(0);
  const bool slides = options.limits(N);
  const AllowCudnn choice(T == N && T >= kCudnnTokens && !slides);
  const auto scale = options.scaling == 0 ? std::nullopt : std::optional<double>(options.scaling);
  const auto batch_1HTd = [](const at::Tensor& x_THd) { return x_THd.transpose(0, 1).unsqueeze(0); };
  const at::Tensor k_NHd = group == 1 ? k_NKd : k_NKd.repeat_interleave(group, 1);
  const at::Tensor v_NHd = group == 1 ? v_NKd : v_NKd.repeat_interleave(group, 1);
  const auto attend = [&](const at::Tensor& q, int64_t first, int64_t end, const std::optional<at::Tensor>& mask,
                          bool is_causal) {
    return at::scaled_dot_product_attention(batch_1HTd(q), batch_1HTd(k_NHd.slice(0, first, end)),
                                            batch_1HTd(v_NHd.slice(0, first, end)), mask, /*dropout_p=*/0.0, is_causal,
                                            scale)
        .squeeze(0)
        .transpose(0, 1);
  };
  if (T == 1) return attend(q_THd, options.first(N), N, {}, /*is_causal=*/false);
  if (T == N && !slides) return attend(q_THd, 0, N, {}, /*is_causal=*/true);
  // ATen's causal mask begins at the first key and has no window, so this builds its own mask, for a few rows at a time
  // and the keys that these see.
  std::vector<at::Tensor> parts;
  const at::Tensor key_N = at::arange(N, q_THd.options().dtype(at::kLong));
  for (int64_t begin = 0; begin < T; begin += kMaskRows) {
    const int64_t end = std::min(begin + kMaskRows, T), keys = N - T + end;
    const int64_t first = options.first(N - T + begin + 1);
    const at::Tensor key = key_N.slice(0, first, keys).unsqueeze(0),
                     query = key_N.slice(0, N - T + begin, keys).unsqueeze(1);
    const at::Tensor causal = key <= query;
    const at::Tensor mask = slides ? causal.logical_and(key > query - options.sliding_window) : causal;
    parts.push_back(attend(q_THd.slice(0, begin, end), first, keys, mask, /*is_causal=*/false));
  }
  return at::cat(parts);
}

/// Returns linears() of one row if there is a kernel for it.
std::optional<std::vector<at::Tensor>> one_row_linears(const at::Tensor& x_1I, const std::vector<Weights>& weights) {
  const auto has_gradient = [&](const Weights& one) { return is_differentiated({x_1I, one.weight_OI}); };
  const auto is_for_cpu = [&](const Weights& one) { return cpu::supports_row_linear(x_1I, one.weight_OI); };
  if (std::ranges::any_of(weights, has_gradient)) return std::nullopt;
  if (std::ranges::all_of(weights, is_for_cpu)) return cpu::linears(x_1I, weights);
  if (cuda::supports_row_linear(x_1I, weights)) return cuda::linears(x_1I, weights);
  return std::nullopt;
}

/// Computes attention_in_packs() for one sequence after the other.
at::Tensor attend_one_by_one(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd,
                             const std::vector<SequenceRows>& sequences, const Prefix* prefix,
                             const AttentionOptions& options) {
  check(prefix == nullptr || !prefix->packed.defined(), "a prefix is read by what kept it");
  at::Tensor mixed_THd = at::empty_like(q_THd);
  for (const SequenceRows& sequence : sequences) {
    const auto seen = [&](const at::Tensor& x_TKd, at::Tensor Prefix::*kept) {
      std::vector<at::Tensor> parts{x_TKd.slice(0, sequence.begin, sequence.end)};
      if (sequence.parent >= 0) {
        const SequenceRows& parent = sequences[static_cast<std::size_t>(sequence.parent)];
        parts.insert(parts.begin(), x_TKd.slice(0, parent.begin, parent.end));
      }
      if (prefix == nullptr) return parts.size() == 1 ? parts[0] : at::cat(parts);
      const at::Tensor& all_CKd = prefix->*kept;
      int64_t end = prefix->length;
      for (const at::Tensor& part : parts) {
        all_CKd.slice(0, end, end + part.size(0)).copy_(part);
        end += part.size(0);
      }
      return all_CKd.slice(0, 0, end);
    };
    mixed_THd.slice(0, sequence.begin, sequence.end)
        .copy_(ops::causal_attention(q_THd.slice(0, sequence.begin, sequence.end), seen(k_TKd, &Prefix::key_CKd),
                                     seen(v_TKd, &Prefix::value_CKd), options));
  }
  return mixed_THd;
}

}  // namespace

at::Tensor linear(const at::Tensor& x_TI, const at::Tensor& weight_OI, const at::Tensor& bias_O) {
  if (x_TI.size(0) == 1) {
    if (const auto found = one_row_linears(x_TI, {{weight_OI, bias_O}})) return found->front();
  }
  return bias_O.defined() ? at::linear(x_TI, weight_OI, bias_O) : at::linear(x_TI, weight_OI);
}

std::vector<at::Tensor> linears(const at::Tensor& x_TI, const std::vector<Weights>& weights) {
  if (x_TI.size(0) == 1) {
    if (auto found = one_row_linears(x_TI, weights)) return *std::move(found);
  }
  std::vector<at::Tensor> outputs;
  for (const Weights& one : weights) outputs.push_back(linear(x_TI, one.weight_OI, one.bias_O));
  return outputs;
}

at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps) {
  if (use_cpu_rowwise({x_TD, weight_D})) return cpu::rms_norm(x_TD, weight_D, eps);
  if (use_cuda_rowwise({x_TD, weight_D})) return cuda::rms_norm(x_TD, weight_D, eps);
  return reference::rms_norm(x_TD, weight_D, eps);
}

void rope_(at::Tensor& x_THd, const RopeAngles& angles) {
  check(2 * angles.cos_TP.size(1) <= x_THd.size(2), "RoPE rotates channels of a head");
  if (use_cpu_rowwise(x_THd)) return cpu::rope_(x_THd, angles);
  if (!is_differentiated(x_THd) && cuda::can_rotate(x_THd, angles)) return cuda::rope_(x_THd, angles);
  if (is_differentiated(x_THd)) x_THd = x_THd.clone();
  reference::rope_(x_THd, angles);
}

at::Tensor causal_attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                            const AttentionOptions& options) {
  if (is_differentiated({q_THd, k_NKd, v_NKd})) return fused_attention(q_THd, k_NKd, v_NKd, options);
  if (q_THd.size(0) == 1 && options.limits(k_NKd.size(0))) {  // the one query sees the last keys, all of them
    const int64_t first = options.first(k_NKd.size(0));
    return causal_attention(q_THd, k_NKd.slice(0, first), v_NKd.slice(0, first), options);
  }
  if (cpu::supports_row_attention(q_THd, k_NKd, v_NKd)) return cpu::attention_row(q_THd, k_NKd, v_NKd, options);
  if (cuda::supports_row_attention(q_THd, k_NKd, v_NKd)) return cuda::attention_row(q_THd, k_NKd, v_NKd, options);
  if constexpr (cpu::kHasBf16Kernels) {
    if (cpu::can_attend(q_THd, k_NKd, v_NKd)) return cpu::attention(q_THd, k_NKd, v_NKd, options);
  }
  if (q_THd.scalar_type() == at::kDouble) return reference::causal_attention(q_THd, k_NKd, v_NKd, options);
  return fused_attention(q_THd, k_NKd, v_NKd, options);
}

bool has_cpu_attention() { return cpu::has_avx512_bf16(); }

Prefix keep_prefix(const at::Tensor& q_PHd, const at::Tensor& k_PKd, const at::Tensor& v_PKd, int64_t room,
                   const AttentionOptions& options) {
  if constexpr (cpu::kHasBf16Kernels) {
    if (!options.limits(k_PKd.size(0) + room) && !is_differentiated({q_PHd, k_PKd, v_PKd}) &&
        cpu::can_attend(q_PHd, k_PKd, v_PKd))
      return cpu::packed_prefix(k_PKd, v_PKd);
  }
  const int64_t length = k_PKd.size(0);
  const auto with_room = [&](const at::Tensor& x_PKd) {
    // The tokens of a head are contiguous, as attention reads them.
    at::Tensor kept_CKd = at::empty({x_PKd.size(1), length + room, x_PKd.size(2)}, x_PKd.options()).transpose(0, 1);
    kept_CKd.slice(0, 0, length).copy_(x_PKd);
    return kept_CKd;
  };
  return {length, with_room(k_PKd), with_room(v_PKd), {}};
}

at::Tensor attention_in_packs(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd,
                              const std::vector<SequenceRows>& sequences, const Prefix* prefix,
                              const AttentionOptions& options) {
  // A window that a sequence with what precedes it does not fill has no effect.
  const int64_t longest = (prefix == nullptr ? 0 : prefix->length) + q_THd.size(0);
  const bool packed = prefix == nullptr ? !options.limits(longest) : prefix->packed.defined();
  if constexpr (cpu::kHasBf16Kernels) {
    if (packed && !is_differentiated({q_THd, k_TKd, v_TKd}) && cpu::can_attend(q_THd, k_TKd, v_TKd))
      return cpu::attention_in_packs(q_THd, k_TKd, v_TKd, sequences, prefix, options);
  }
  return attend_one_by_one(q_THd, k_TKd, v_TKd, sequences, prefix, options);
}

at::Tensor residual_attention(const at::Tensor& q_THd, const at::Tensor& cached_k_NKd, const at::Tensor& cached_v_NKd,
                              const at::Tensor& exact_k_NKd, const at::Tensor& exact_v_NKd, int64_t residual,
                              const AttentionOptions& options) {
  if constexpr (cpu::kHasBf16Kernels) {
    if (residual > 0 && !is_differentiated({q_THd, cached_k_NKd, cached_v_NKd, exact_k_NKd, exact_v_NKd}) &&
        cpu::can_attend(q_THd, cached_k_NKd, cached_v_NKd) && cpu::can_attend(q_THd, exact_k_NKd, exact_v_NKd))
      return cpu::residual_attention(q_THd, cached_k_NKd, cached_v_NKd, exact_k_NKd, exact_v_NKd, residual, options);
  }
  return reference::residual_attention(q_THd, cached_k_NKd, cached_v_NKd, exact_k_NKd, exact_v_NKd, residual, options);
}

at::Tensor silu_mul(const at::Tensor& gate_TF, const at::Tensor& up_TF) {
  if (use_cpu_rowwise({gate_TF, up_TF})) return cpu::silu_mul(gate_TF, up_TF);
  if (use_cuda_rowwise({gate_TF, up_TF})) return cuda::silu_mul(gate_TF, up_TF);
  return reference::silu_mul(gate_TF, up_TF);
}

at::Tensor token_nll(const at::Tensor& logits_TV, const at::Tensor& targets_T) {
  if (use_cpu_rowwise(logits_TV)) return cpu::token_nll(logits_TV, targets_T);
  if (use_cuda_rowwise(logits_TV)) return cuda::token_nll(logits_TV, targets_T);
  return reference::token_nll(logits_TV, targets_T);
}

bool decode_layer_(at::Tensor& x_1D, const CachedLayer& layer, const RopeAngles& angles_C, int64_t position) {
  if (is_differentiated({x_1D, layer.q_proj.weight_OI})) return false;
  if (cpu::can_decode_layer(x_1D, layer)) {
    cpu::decode_layer_(x_1D, layer, angles_C, position);
  } else if (cuda::can_decode_layer(x_1D, layer, angles_C)) {
    cuda::decode_layer_(x_1D, layer, angles_C, position);
  } else {
    return false;
  }
  return true;
}

void add_gram(at::Tensor& sum_II, const at::Tensor& x_RI) {
  if constexpr (cpu::kHasBf16Kernels) {
    if (cpu::can_add_gram(x_RI)) return cpu::add_gram(sum_II, x_RI);
  }
  const at::Tensor x = x_RI.to(at::kFloat);
  if (!x.is_cpu()) {
    sum_II.addmm_(x.t(), x);
    return;
  }
  const int64_t inputs = x.size(1), blocks = (inputs + kGramRows - 1) / kGramRows;
  const auto part = [&](int64_t block) {
    return std::pair(block * kGramRows, std::min(kGramRows, inputs - block * kGramRows));
  };
  const auto add = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto [row, rows] = part(i / blocks);
      const auto [column, columns] = part(i % blocks);
      if (column < row) continue;
      sum_II.narrow(0, row, rows)
          .narrow(1, column, columns)
          .addmm_(x.narrow(1, row, rows).t(), x.narrow(1, column, columns));
    }
  };
  // Each product on one thread, in one shape: MKL's bits depend on the number of threads that share a product.
  at::parallel_for(0, blocks * blocks, 1, add);
}

}  // namespace qroar::ops
