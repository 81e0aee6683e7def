// Checks whether two sets of texts share a passage: evaluated texts must not be used to search scales or to calibrate
// quantizers.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace qroar {

/// The number of consecutive equal tokens that make two texts overlap: whole sentences of prose, which two authors do
/// not share by chance.
inline constexpr int64_t kCommonTokens = 64;

/// A passage of a text with the name of its document.
struct TextPart {
  std::string document;
  std::span<const int32_t> tokens;
};

struct CommonRun {
  std::string first, second;  ///< document in each set
  int64_t place = 0;          ///< token of the second's part at which the run begins
};

/// Returns the first run of kCommonTokens tokens in `second` that is also in `first`, at any place.  Time and memory
/// are linear in the total length of the texts.
std::optional<CommonRun> common_run(const std::vector<TextPart>& first, const std::vector<TextPart>& second);

}  // namespace qroar
