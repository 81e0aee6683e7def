#include "ops/cpu/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <numbers>

#include "ops/cpu/attention_kernel.h"

namespace qroar::ops::cpu {
namespace {

bool has_avx512_bf16() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bf16");
}

const Bf16* bits(const at::Tensor& x) { return reinterpret_cast<const Bf16*>(x.const_data_ptr<at::BFloat16>()); }

Rows rows_of_head(const at::Tensor& x_TKd, int64_t head) {
  return {bits(x_TKd) + head * x_TKd.stride(1), x_TKd.stride(0)};
}

/// The keys and values of all heads, packed; as large as the tensors they come from.
class PackedHeads {
 public:
  PackedHeads(const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
    const int64_t tokens = k_TKd.size(0), heads = k_TKd.size(1), dim = k_TKd.size(2);
    const int64_t tiles = (tokens + kKeyTile - 1) / kKeyTile;
    words_per_head_ = tiles * kKeyTile * (dim / 2);
    words_ = at::empty({2, heads, words_per_head_}, k_TKd.options().dtype(at::kInt));
    at::parallel_for(0, heads * tiles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t head = i / tiles;
        pack_tile(rows_of_head(k_TKd, head), rows_of_head(v_TKd, head), i % tiles, tokens, dim, (*this)[head]);
      }
    });
  }

  PackedHead operator[](int64_t head) const {
    auto* words = reinterpret_cast<Bf16Pair*>(words_.data_ptr<int>());
    return {words + head * words_per_head_, words + (words_.size(1) + head) * words_per_head_};
  }

 private:
  int64_t words_per_head_;
  at::Tensor words_;  // [keys or values, K, words_per_head_]
};

/// One thread's work space and the way in and out of it.  The rows of a block are (token, head) with the heads of one
/// key/value head beside each other, so that they share what is loaded of it.
class Worker {
 public:
  Worker(const at::Tensor& q_THd, at::Tensor& out_THd, int64_t kv_heads, int64_t tokens_before)
      : q_(q_THd),
        out_(out_THd),
        group_(q_THd.size(1) / kv_heads),
        before_(tokens_before),
        block_(std::make_unique<QueryBlock>()) {
    const int64_t dim = q_THd.size(2);
    queries_.reset(new Bf16Pair[kBlockRows * dim / 2]());
    mixed_.reset(new float[kBlockRows * dim]);
    block_->dim = dim;
    block_->queries = queries_.get();
    block_->mixed = mixed_.get();
  }

  void run(int64_t kv_head, int64_t first_token, int64_t tokens, PackedHead packed) {
    const int64_t rows = tokens * group_, dim = block_->dim;
    block_->rows = (rows + kRowTile - 1) / kRowTile * kRowTile;
    for (int64_t row = 0; row < block_->rows; ++row) {
      const int64_t source = std::min(row, rows - 1);  // rows that fill the last tile repeat the last one
      const int64_t token = first_token + source / group_, head = kv_head * group_ + source % group_;
      block_->position[row] = before_ + token;
      std::memcpy(queries_.get() + row * (dim / 2), bits(q_) + token * q_.stride(0) + head * q_.stride(1),
                  dim * sizeof(Bf16));
    }
    attend(*block_, packed, static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(dim))));
    auto* out = reinterpret_cast<Bf16*>(out_.data_ptr<at::BFloat16>());
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t head = kv_head * group_ + row % group_;
      write_row(*block_, row, out + ((first_token + row / group_) * out_.size(1) + head) * dim);
    }
  }

 private:
  const at::Tensor& q_;
  at::Tensor& out_;
  int64_t group_;   // H / K
  int64_t before_;  // tokens before the first query's
  std::unique_ptr<QueryBlock> block_;
  std::unique_ptr<Bf16Pair[]> queries_;
  std::unique_ptr<float[]> mixed_;
};

}  // namespace

bool can_attend(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
  static const bool supported = has_avx512_bf16();
  const auto fits = [](const at::Tensor& x) {
    return x.is_cpu() && x.scalar_type() == at::kBFloat16 && x.size(2) % kKeyTile == 0 && x.stride(2) == 1;
  };
  return supported && fits(q_THd) && fits(k_TKd) && fits(v_TKd) && q_THd.size(1) / k_TKd.size(1) <= kBlockRows;
}

at::Tensor attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd) {
  const int64_t tokens = q_THd.size(0), kv_heads = k_NKd.size(1);
  const int64_t block_tokens = kBlockRows * kv_heads / q_THd.size(1),
                blocks = (tokens + block_tokens - 1) / block_tokens;
  const PackedHeads packed(k_NKd, v_NKd);
  at::Tensor out_THd = at::empty(q_THd.sizes(), q_THd.options());
  // Blocks late in the sequence cost most, so they go first, each to the thread that is free.
  std::atomic<int64_t> next = 0;
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) {
    Worker worker(q_THd, out_THd, kv_heads, k_NKd.size(0) - tokens);
    for (int64_t task = next++; task < blocks * kv_heads; task = next++) {
      const int64_t first = (blocks - 1 - task / kv_heads) * block_tokens, kv_head = task % kv_heads;
      worker.run(kv_head, first, std::min(block_tokens, tokens - first), packed[kv_head]);
    }
  });
  return out_THd;
}

}  // namespace qroar::ops::cpu
