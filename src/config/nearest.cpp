// "Did you mean": edit distance in which swapping two adjacent letters is one step ("yran" is one step from "yarn").
#include <algorithm>
#include <cctype>
#include <numeric>

#include "config/config.h"

namespace qroar {
namespace {

std::string lower(std::string_view word) {
  std::string result(word);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

/// Returns the optimal string alignment distance, computed row by row; the strings are already in lower case.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = last;
    last = row;
  }
  return last[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  // Allows one step per three letters; a more distant suggestion would mislead.
  std::size_t limit = std::max<std::size_t>(1, word.size() / 3);
  std::string best;
  for (const std::string& candidate : candidates) {
    const std::size_t steps = distance(lower(word), lower(candidate));
    if (steps < word.size() && steps < candidate.size() && steps <= limit && (best.empty() || steps < limit)) {
      best = candidate;
      limit = steps;
    }
  }
  return best;
}

}  // namespace qroar
