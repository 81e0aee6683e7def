// What differs between the attention of layers and models; free of torch, since a config.json states it.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

namespace qroar::ops {

/// Which keys a query attends to, and how scores are scaled.
struct AttentionOptions {
  int64_t sliding_window = 0;  ///< keys that a query sees at most, itself included; 0: all before it
  double scaling = 0;          ///< factor of q . k; 0: 1 / sqrt(d)

  bool operator==(const AttentionOptions&) const = default;
  /// Returns what scores are divided by.
  double divisor(int64_t dim) const { return scaling == 0 ? std::sqrt(static_cast<double>(dim)) : 1 / scaling; }
  /// Returns whether a query at the end of so many keys does not see all of them.
  bool limits(int64_t keys) const { return sliding_window > 0 && sliding_window < keys; }
  /// Returns the first key that such a query sees.
  int64_t first(int64_t keys) const { return limits(keys) ? keys - sliding_window : 0; }
  /// Returns the pairs of a query and a key that it sees, of T queries after `before` other tokens.
  double pairs(int64_t T, int64_t before) const {
    const auto triangle = [](int64_t n) { return static_cast<double>(n) * (static_cast<double>(n) + 1) / 2; };
    if (!limits(before + T))
      return static_cast<double>(T) * (static_cast<double>(before) + (static_cast<double>(T) + 1) / 2);
    const int64_t growing =
        std::max<int64_t>(0, sliding_window - before);  // queries that see fewer keys than the window
    return triangle(before + growing) - triangle(before) +
           static_cast<double>(T - growing) * static_cast<double>(sliding_window);
  }
};

}  // namespace qroar::ops
