#include "run/overlap.h"

#include <algorithm>
#include <functional>

namespace qroar {
namespace {

constexpr uint64_t kBase = 0x9e3779b97f4a7c15;  // odd, so that no power of it vanishes modulo 2^64

/// Visits the rolling hashes (Karp and Rabin, 1987) of all runs of kCommonTokens tokens, in order.
void each_run(std::span<const int32_t> tokens, const std::function<void(uint64_t hash, std::size_t begin)>& visit) {
  constexpr auto kLength = static_cast<std::size_t>(kCommonTokens);
  if (tokens.size() < kLength) return;
  const auto digit = [&](std::size_t i) { return static_cast<uint64_t>(tokens[i]) + 1; };
  uint64_t hash = 0, highest = 1;
  for (std::size_t i = 0; i < kLength; ++i) {
    hash = hash * kBase + digit(i);
    highest *= kBase;
  }
  visit(hash, 0);
  for (std::size_t begin = 1; begin + kLength <= tokens.size(); ++begin) {
    hash = hash * kBase + digit(begin + kLength - 1) - digit(begin - 1) * highest;
    visit(hash, begin);
  }
}

/// Returns the part that contains the run; null where none does, and only the hashes are equal.
const TextPart* holder_of(std::span<const int32_t> run, const std::vector<TextPart>& parts) {
  const auto holds = [&](const TextPart& part) { return !std::ranges::search(part.tokens, run).empty(); };
  const auto found = std::ranges::find_if(parts, holds);
  return found == parts.end() ? nullptr : &*found;
}

}  // namespace

std::optional<CommonRun> common_run(const std::vector<TextPart>& first, const std::vector<TextPart>& second) {
  std::vector<uint64_t> hashes;
  for (const TextPart& part : first) {
    each_run(part.tokens, [&](uint64_t hash, std::size_t) { hashes.push_back(hash); });
  }
  std::ranges::sort(hashes);
  for (const TextPart& part : second) {
    std::optional<CommonRun> found;
    each_run(part.tokens, [&](uint64_t hash, std::size_t begin) {
      if (found || !std::ranges::binary_search(hashes, hash)) return;
      const auto run = part.tokens.subspan(begin, static_cast<std::size_t>(kCommonTokens));
      if (const TextPart* holder = holder_of(run, first))
        found = CommonRun{holder->document, part.document, static_cast<int64_t>(begin)};
    });
    if (found) return found;
  }
  return std::nullopt;
}

}  // namespace qroar
