// Determines the windows of each document and the tokens that each one scores: a pure function, so that a protocol can
// be read and tested.  configs/protocols/ expresses the field's evaluations in these terms.
#pragma once
#include <cstdint>
#include <vector>

#include "config/config.h"

namespace qroar {

/// How per-token losses are averaged to one number.
enum class Aggregate {
  tokens,     ///< every scored token has the same weight
  windows,    ///< unweighted mean of window means (the YaRN release's eval/perplexity.py)
  documents,  ///< unweighted mean of document means
};

enum class Bos {
  none,
  every,    ///< every window starts with BOS, which takes one of its positions
  start,    ///< every document starts with BOS: a token like any other, which is not scored
  replace,  ///< like `start`, and every window's first token is replaced by BOS (llama.cpp)
};

/// Which tokens of a window are scored.
enum class Score {
  all,          ///< those that no earlier window has scored
  window,       ///< all of them, however often windows overlap
  second_half,  ///< those after the first length / 2 + 1 (llama.cpp)
};

/// What happens to windows at the end of a document that would be shorter than `length`.
enum class Tail {
  keep,
  drop,
  fill,      ///< begins earlier, so that it is full, and scores the remaining tokens (lm-evaluation-harness)
  longlora,  ///< windows begin before end - length, and the last of these is dropped too (LongLoRA's eval.py)
};

/// How a model sees a window.
struct Feed {
  Bos bos = Bos::every;
  bool beyond = false;  ///< the last token is predicted but not seen (lm-evaluation-harness)

  /// Returns how many tokens the model sees in addition to those of the text.
  int64_t added() const { return bos == Bos::every ? 1 : 0; }
};

/// The YAML block `windows`.
struct WindowRule {
  int64_t length = 0;        ///< tokens the model sees, BOS included
  int64_t stride = 0;        ///< text tokens from one window's begin to the next; with Score::all limited to length - 1
                             ///< (length with `beyond`), so that no target is skipped; with others at most what a
                             ///< window holds beside BOS
  bool truncate = false;     ///< a document is cut to its first window
  bool concatenate = false;  ///< all documents are joined into one
  Feed feed;
  Score score = Score::all;
  Tail tail = Tail::keep;
  Aggregate aggregate = Aggregate::tokens;

  WindowRule() = default;
  /// Reads length (required, >= 2; a list `lengths` has become the axis of a sweep), stride (default: the most, length
  /// or, unless `score` is all, the text tokens of a window), truncate (false), concatenate (false), bos (true, false,
  /// start, replace), targets (inside, beyond), score (all), tail (keep), aggregate (tokens) and `protocol`, a name
  /// that tables show.
  explicit WindowRule(const Config& config);
};

/// One forward pass over text tokens [begin, end) of a document; the last `scored` of them count.
struct Window {
  int64_t document = 0;
  int64_t begin = 0;
  int64_t end = 0;
  int64_t scored = 0;
  bool operator==(const Window&) const = default;
};

/// Returns all windows in document order.  Contract of Score::all with Tail::keep or fill: every token of a document is
/// scored exactly once, except the first where no BOS precedes it; with `truncate` the same holds for the part that the
/// first window covers.  A document with nothing to score has no window.
std::vector<Window> windows_of(const std::vector<int64_t>& document_tokens, const WindowRule& rule);

/// Returns how many tokens the model sees in a window.
inline int64_t tokens_seen(const Window& window, const Feed& feed) {
  return window.end - window.begin + feed.added() - (feed.beyond ? 1 : 0);
}

/// Returns the largest number of tokens that the model sees in any of the windows.
int64_t longest_seen(const std::vector<Window>& windows, const Feed& feed);

}  // namespace qroar
