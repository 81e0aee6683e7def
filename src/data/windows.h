// Where the windows of each document lie and which tokens each one scores: a pure function, so that a protocol can be
// read and tested.  configs/protocols/ says what the field's evaluations are in these terms.
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

enum class Bos {
  none,
  every,    ///< every window starts with BOS, which takes one of its places
  start,    ///< every document starts with BOS: a token like any other, which is not scored
  replace,  ///< as `start`, and every window's first token is replaced by BOS (llama.cpp)
};

/// What of a window counts.
enum class Score {
  all,          ///< what no earlier window has scored
  window,       ///< everything, however often windows overlap
  second_half,  ///< what comes after the first length / 2 + 1 tokens (llama.cpp)
};

/// What becomes of windows that would be shorter than `length` at the end of a document.
enum class Tail {
  keep,
  drop,
  fill,      ///< begins earlier, so that it is full, and scores what is left (lm-evaluation-harness)
  longlora,  ///< windows begin below end - length, and the last of these is left out, too (LongLoRA's eval.py)
};

/// How a model sees a window.
struct Feed {
  Bos bos = Bos::every;
  bool beyond = false;  ///< the last token is predicted and not seen (lm-evaluation-harness)

  /// Tokens that the model sees beside those of the text.
  int64_t added() const { return bos == Bos::every ? 1 : 0; }
};

/// The YAML block `windows`.
struct WindowRule {
  int64_t length = 0;  ///< tokens the model sees, BOS included
  int64_t stride = 0;  ///< text tokens from one window's begin to the next; with Score::all at most length - 1 (and one
                       ///< more with `beyond`) takes effect, so that no target is skipped
  bool truncate = false;     ///< a document is cut to its first window
  bool concatenate = false;  ///< all documents are one
  Feed feed;
  Score score = Score::all;
  Tail tail = Tail::keep;
  Aggregate aggregate = Aggregate::tokens;

  WindowRule() = default;
  /// Reads length (required, >= 2), stride (default length, 1..length), truncate (false), concatenate (false), bos
  /// (true, false, start, replace), targets (inside, beyond), score (all), tail (keep), aggregate (tokens) and
  /// `protocol`, a name that tables show.
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

/// All windows in document order.  Contract of Score::all with Tail::keep or fill: every token of a document is scored
/// exactly once, but for its first where no BOS comes before it; with `truncate` the same holds for the part that the
/// first window covers.  A document with nothing to score gets no window.
std::vector<Window> windows_of(const std::vector<int64_t>& document_tokens, const WindowRule& rule);

/// Tokens that the model sees in a window.
inline int64_t tokens_seen(const Window& window, const Feed& feed) {
  return window.end - window.begin + feed.added() - (feed.beyond ? 1 : 0);
}

/// The most tokens that the model sees in one of them.
int64_t longest_seen(const std::vector<Window>& windows, const Feed& feed);

}  // namespace qroar
