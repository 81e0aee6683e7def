#include "ops/cpu/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <numbers>

#include "ops/cpu/instruction_sets.h"
#include "ops/cpu/packed_keys.h"

namespace qroar::ops::cpu {
namespace {

const AttentionKernel& kernel() { return has_amx_bf16() ? kAmxAttention : kAvx512Attention; }

int64_t whole_tiles(int64_t rows) {
  const int64_t tile = kernel().row_tile;
  return (rows + tile - 1) / tile * tile;
}

/// Consecutive queries of a sequence whose rows are in one block.
struct Span {
  std::size_t sequence;
  int64_t first, tokens;  // of the sequence
};

/// What queries see: concatenated sequences of tokens, each after its parent, all of them after `prefix`.
struct Scene {
  const std::vector<SequenceRows>& sequences;
  const PackedKeys& own;  // one part per sequence
  int64_t before;         // own keys of a sequence that precede its first query
  const PackedKeys* prefix;
  AttentionOptions options;            // a sliding window only without parents and prefix
  const PackedKeys* cached = nullptr;  // what is read instead of own keys at distance `residual` and farther
  int64_t residual = 0;
};

constexpr int64_t kAnyDistance = int64_t{1} << 62;

/// One thread's workspace and the copies into and out of it.  The rows of a block are (token, head), where the query
/// heads of one key/value head are adjacent, so that they share its loads.
class Worker {
 public:
  Worker(const at::Tensor& q_THd, at::Tensor& out_THd, int64_t kv_heads, const Scene& scene)
      : q_(q_THd),
        out_(out_THd),
        scene_(scene),
        group_(q_THd.size(1) / kv_heads),
        block_(std::make_unique<QueryBlock>()),
        queries_(at::zeros({kBlockRows, q_THd.size(2) / 2}, at::kInt)),
        mixed_(at::empty({kBlockRows, q_THd.size(2)}, at::kFloat)) {
    const int64_t dim = q_THd.size(2);
    block_->dim = dim;
    block_->queries = reinterpret_cast<Bf16Pair*>(queries_.data_ptr<int>());
    block_->mixed = mixed_.data_ptr<float>();
    log2_scale_ = static_cast<float>(std::numbers::log2e / scene.options.divisor(dim));
  }

  void run(int64_t kv_head, const std::vector<Span>& spans) {
    block_->rows = 0;
    for (const Span& span : spans) read(kv_head, span);
    start(*block_);
    if (scene_.prefix != nullptr) {
      std::fill_n(block_->first, block_->rows, 0);
      std::fill_n(block_->position, block_->rows, scene_.prefix->count(0) - 1);
      kernel().attend(*block_, 0, block_->rows, scene_.prefix->of(kv_head, 0), log2_scale_);
    }
    int64_t begin = 0;
    for (const Span& span : spans) {
      const int64_t end = begin + whole_tiles(span.tokens * group_);
      see(kv_head, span, begin, end);
      write(kv_head, span, begin);
      begin = end;
    }
  }

 private:
  const SequenceRows& sequence_of(const Span& span) const { return scene_.sequences[span.sequence]; }

  void read(int64_t kv_head, const Span& span) {
    const int64_t rows = span.tokens * group_, padded = whole_tiles(rows), dim = block_->dim;
    for (int64_t row = 0; row < padded; ++row) {
      const int64_t source = std::min(row, rows - 1);  // padding rows of the last tile repeat the last row
      const int64_t token = sequence_of(span).begin + span.first + source / group_;
      const int64_t head = kv_head * group_ + source % group_;
      std::memcpy(block_->queries + block_->rows++ * (dim / 2), bits(q_) + token * q_.stride(0) + head * q_.stride(1),
                  static_cast<std::size_t>(dim) * sizeof(Bf16));
    }
  }

  void see(int64_t kv_head, const Span& span, int64_t begin, int64_t end) {
    if (sequence_of(span).parent >= 0) {
      const auto parent = static_cast<std::size_t>(sequence_of(span).parent);
      std::fill(block_->first + begin, block_->first + end, 0);
      std::fill(block_->position + begin, block_->position + end, scene_.own.count(parent) - 1);
      kernel().attend(*block_, begin, end, scene_.own.of(kv_head, parent), log2_scale_);
    }
    if (scene_.cached == nullptr) return see_between(0, kAnyDistance, scene_.own, kv_head, span, begin, end);
    see_between(scene_.residual, kAnyDistance, *scene_.cached, kv_head, span, begin, end);
    see_between(0, scene_.residual - 1, scene_.own, kv_head, span, begin, end);
  }

  /// Attends to those of the sequence's keys whose distance is in [nearest, farthest]; rows may see none of them.
  void see_between(int64_t nearest, int64_t farthest, const PackedKeys& keys, int64_t kv_head, const Span& span,
                   int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t own = scene_.before + span.first + std::min((row - begin) / group_, span.tokens - 1);
      block_->position[row] = own - nearest;
      block_->first[row] = std::max(scene_.options.first(own + 1), own - farthest);
    }
    kernel().attend(*block_, begin, end, keys.of(kv_head, span.sequence), log2_scale_);
  }

  void write(int64_t kv_head, const Span& span, int64_t begin) {
    auto* out = reinterpret_cast<Bf16*>(out_.data_ptr<at::BFloat16>());
    for (int64_t row = 0; row < span.tokens * group_; ++row) {
      const int64_t token = sequence_of(span).begin + span.first + row / group_, head = kv_head * group_ + row % group_;
      write_row(*block_, begin + row, out + (token * out_.size(1) + head) * block_->dim);
    }
  }

  const at::Tensor& q_;
  at::Tensor& out_;
  const Scene& scene_;
  int64_t group_;  // H / K
  float log2_scale_;
  std::unique_ptr<QueryBlock> block_;
  at::Tensor queries_, mixed_;  // of the block; tensors, since their rows begin at cache lines
};

/// Splits all queries into blocks of up to kBlockRows rows.
std::vector<std::vector<Span>> blocks_of(const std::vector<SequenceRows>& sequences, int64_t group) {
  std::vector<std::vector<Span>> blocks;
  int64_t room = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const int64_t count = sequences[i].end - sequences[i].begin;
    for (int64_t first = 0, tokens = 0; first < count; first += tokens) {
      if (room < group) {
        blocks.emplace_back();
        room = kBlockRows;
      }
      tokens = std::min(room / group, count - first);
      blocks.back().push_back({i, first, tokens});
      room -= whole_tiles(tokens * group);
    }
  }
  return blocks;
}

at::Tensor attend_all(const at::Tensor& q_THd, int64_t kv_heads, const Scene& scene) {
  const auto blocks = blocks_of(scene.sequences, q_THd.size(1) / kv_heads);
  at::Tensor out_THd = at::empty(q_THd.sizes(), q_THd.options());
  // Blocks late in the sequence cost the most, so they are started first, each on the next free thread.
  const int64_t tasks = std::ssize(blocks) * kv_heads;
  std::atomic<int64_t> next = 0;
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) {
    Worker worker(q_THd, out_THd, kv_heads, scene);
    for (int64_t task = next++; task < tasks; task = next++) {
      worker.run(task % kv_heads, blocks[blocks.size() - 1 - static_cast<std::size_t>(task / kv_heads)]);
    }
  });
  return out_THd;
}

}  // namespace

bool can_attend(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
  const auto fits = [](const at::Tensor& x) {
    return x.is_cpu() && x.scalar_type() == at::kBFloat16 && x.size(2) % kKeyTile == 0 && x.stride(2) == 1;
  };
  return has_avx512_bf16() && fits(q_THd) && fits(k_TKd) && fits(v_TKd) && q_THd.size(1) / k_TKd.size(1) <= kBlockRows;
}

at::Tensor attention(const at::Tensor& q_THd, const at::Tensor& k_NKd, const at::Tensor& v_NKd,
                     const AttentionOptions& options) {
  const int64_t tokens = q_THd.size(0), keys = k_NKd.size(0);
  const std::vector<SequenceRows> one{{0, tokens}};
  return attend_all(q_THd, k_NKd.size(1),
                    {one, PackedKeys(k_NKd, v_NKd, {{0, keys}}), keys - tokens, nullptr, options});
}

at::Tensor residual_attention(const at::Tensor& q_THd, const at::Tensor& cached_k_NKd, const at::Tensor& cached_v_NKd,
                              const at::Tensor& exact_k_NKd, const at::Tensor& exact_v_NKd, int64_t residual,
                              const AttentionOptions& options) {
  const int64_t tokens = q_THd.size(0), keys = exact_k_NKd.size(0);
  const std::vector<SequenceRows> one{{0, tokens}};
  const PackedKeys cached(cached_k_NKd, cached_v_NKd, {{0, keys}}), exact(exact_k_NKd, exact_v_NKd, {{0, keys}});
  return attend_all(q_THd, exact_k_NKd.size(1), {one, exact, keys - tokens, nullptr, options, &cached, residual});
}

Prefix packed_prefix(const at::Tensor& k_PKd, const at::Tensor& v_PKd) {
  const int64_t tokens = k_PKd.size(0);
  return {tokens, {}, {}, PackedKeys(k_PKd, v_PKd, {{0, tokens}}).words()};
}

at::Tensor attention_in_packs(const at::Tensor& q_THd, const at::Tensor& k_TKd, const at::Tensor& v_TKd,
                              const std::vector<SequenceRows>& sequences, const Prefix* prefix,
                              const AttentionOptions& options) {
  std::vector<PackedKeys::Part> parts;
  for (const SequenceRows& sequence : sequences) parts.push_back({sequence.begin, sequence.end});
  const PackedKeys own(k_TKd, v_TKd, parts);
  const AttentionOptions scaled{0, options.scaling};  // the caller says that no window acts
  if (prefix == nullptr) return attend_all(q_THd, k_TKd.size(1), {sequences, own, 0, nullptr, scaled});
  const PackedKeys before(prefix->packed, prefix->length, k_TKd.size(2));
  return attend_all(q_THd, k_TKd.size(1), {sequences, own, 0, &before, scaled});
}

}  // namespace qroar::ops::cpu
