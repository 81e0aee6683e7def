// Keys and values in the memory layout of the attention kernel.
#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "ops/cpu/attention_kernel.h"
#include "ops/cpu/row_steps.h"

namespace qroar::ops::cpu {

/// Packed keys and values of all heads, where each part of the tokens is packed separately.  As large as the original
/// tensors, except for padding at the ends of parts.
class PackedKeys {
 public:
  struct Part {
    int64_t begin, end;
  };

  PackedKeys(const at::Tensor& k_TKd, const at::Tensor& v_TKd, const std::vector<Part>& parts)
      : PackedKeys(parts, k_TKd.size(1), k_TKd.size(2)) {
    const int64_t heads = k_TKd.size(1), dim = k_TKd.size(2);
    words_ = at::empty({2, heads, tiles_.back() * tile_words_}, k_TKd.options().dtype(at::kInt));
    at::parallel_for(0, heads * tiles_.back(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t head = i / tiles_.back(), tile = i % tiles_.back();
        const std::size_t part = part_of(tile);
        const int64_t first = parts[part].begin;
        const auto rows = [&](const at::Tensor& x_TKd) {
          return HeadRows{bits(x_TKd) + first * x_TKd.stride(0) + head * x_TKd.stride(1), x_TKd.stride(0)};
        };
        pack_tile(rows(k_TKd), rows(v_TKd), tile - tiles_[part], counts_[part], dim, of(head, part));
      }
    });
  }

  /// Restores packed keys and values of one part from words().
  PackedKeys(const at::Tensor& words, int64_t tokens, int64_t dim) : PackedKeys({{0, tokens}}, words.size(1), dim) {
    words_ = words;
  }

  const at::Tensor& words() const { return words_; }
  int64_t count(std::size_t part) const { return counts_[part]; }
  PackedHead of(int64_t head, std::size_t part) const {
    auto* words = reinterpret_cast<Bf16Pair*>(words_.data_ptr<int>()) + tiles_[part] * tile_words_;
    const int64_t of_head = tiles_.back() * tile_words_;
    return {words + head * of_head, words + (heads_ + head) * of_head};
  }

 private:
  PackedKeys(const std::vector<Part>& parts, int64_t heads, int64_t dim)
      : heads_(heads), tile_words_(kKeyTile * dim / 2), tiles_{0} {
    for (const auto& [begin, end] : parts) {
      counts_.push_back(end - begin);
      tiles_.push_back(tiles_.back() + (end - begin + kKeyTile - 1) / kKeyTile);
    }
  }
  std::size_t part_of(int64_t tile) const {
    return static_cast<std::size_t>(std::ranges::upper_bound(tiles_, tile) - tiles_.begin()) - 1;
  }

  int64_t heads_, tile_words_;
  std::vector<int64_t> counts_, tiles_;  // the tokens of each part; its first tile, and at the end the number of tiles
  at::Tensor words_;                     // [keys or values, K, words of all tiles]
};

}  // namespace qroar::ops::cpu
