// Where the windows of each document lie and which tokens each one scores: a pure function, so that a protocol can be
// read and tested.
#pragma once
#include <cstdint>
#include <vector>

#include "config/config.h"

namespace qroar {

/// How per-token losses become one number.
enum class Aggregate {
  tokens,     ///< every scored token weighs the same
  windows,    ///< unweighted mean of window means (the YaRN release's eval/perplexity.py)
  documents,  ///< unweighted mean of document means
};

/// The YAML block `windows`.
struct WindowRule {
  int64_t length = 0;  ///< tokens the model sees, BOS included
  int64_t stride = 0;  ///< text tokens from one window's begin to the next; at most length - 1 takes effect, so that no
                       ///< target is skipped
  bool truncate = false;  ///< a document is cut to its first window
  bool bos = true;        ///< every window starts with BOS
  Aggregate aggregate = Aggregate::tokens;

  WindowRule() = default;
  /// Reads length (required, >= 2), stride (default length, 1..length), truncate (false), bos (true), score (`all`),
  /// aggregate (tokens).
  explicit WindowRule(const Config& config);
};

/// One forward pass over text tokens [begin, end) of a document, after BOS where the rule says so; the last `scored`
/// text tokens count.
struct Window {
  int64_t document = 0;
  int64_t begin = 0;
  int64_t end = 0;
  int64_t scored = 0;
  bool operator==(const Window&) const = default;
};

/// All windows in document order.  Contract: with BOS every token of a document is scored exactly once, without BOS
/// every token but the first; a document with nothing to score gets no window.  With `truncate` the same holds for the
/// part that the first window covers.
std::vector<Window> windows_of(const std::vector<int64_t>& document_tokens, const WindowRule& rule);

}  // namespace qroar
