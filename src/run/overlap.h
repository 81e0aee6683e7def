// Do two sets of texts have a piece in common?  What scales are searched on, or quantizers calibrated with, must not be
// what is evaluated.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace qroar {

/// So many tokens in a row make two texts the same: whole sentences of prose, which two authors do not share by chance.
inline constexpr int64_t kCommonTokens = 64;

/// A piece of a text under the name of its document.
struct TextPart {
  std::string document;
  std::span<const int32_t> tokens;
};

struct CommonRun {
  std::string first, second;  ///< documents of either set
  int64_t place = 0;          ///< token of the second's part at which the run begins
};

/// The first run of kCommonTokens tokens in `second` that is in `first`, too, at any place.  Time and memory grow with
/// the sum of the texts.
std::optional<CommonRun> common_run(const std::vector<TextPart>& first, const std::vector<TextPart>& second);

}  // namespace qroar
