// Runs a model over windows and feeds its metrics.
#pragma once
#include <functional>
#include <vector>

#include "base/statistics.h"
#include "eval/parts.h"
#include "eval/score_windows.h"

namespace qroar {

/// What is kept of one window: enough to compare two rows in pairs.
struct WindowLoss {
  Window window;
  Moments nll;  ///< of its scored tokens, nats
};

/// Keeps the results of windows that another evaluation has scored.
class WindowStore {
 public:
  virtual ~WindowStore() = default;
  virtual bool has(std::size_t window) const = 0;
  virtual void add(std::size_t window, const Json& result, double seconds) = 0;
};

/// Another evaluation of the same model and reference, perhaps under other angles.  Its windows may be prefixes of this
/// one's: in a causal model the first tokens of a window have the hidden states of the window that they fill alone.
struct Companion {
  EvaluationInput input;
  const Metrics& metrics;
  WindowStore& store;
};

/// A prefix of a longer window must have a multiple of this number of tokens: with a rest, matrix products and ATen's
/// attention on the CPU add in another order than for the prefix alone.
inline constexpr int64_t kPrefixTokens = 512;

/// The tokens after which a group of windows that goes through a streamed model together is full.  The work on so many
/// takes far longer than to read the weights once; a stop loses the group.
inline constexpr int64_t kGroupTokens = 65'536;

/// Returns the name under which the result of a window is kept.
std::string window_part(std::size_t window);

/// Called with the share of a window that has been done since.
using Advance = std::function<void(const Window&, double share)>;

/// Scores all windows; short windows of one length go through the model several at a time, and through a streamed model
/// kGroupTokens together, or as many as fit.  `store` may be null.  Windows of companions that are prefixes
/// of these, with the same angles, are scored from the same hidden states and put into their stores; of the first
/// prefix it is checked that it alone gives the same bits, and without that (other processors may differ) none is used.
/// The companions' other windows are scored where the model is streamed, for which they cost no weights.  A window
/// counts its share of a pass by its operations. `advance` is called after each layer of a streamed model
/// and after each finished window; the shares of a window add up to 1.
/// Throws score_windows()'s Errors.
std::vector<WindowLoss> evaluate(
    const EvaluationInput& input, const Metrics& metrics, PartStore* store = nullptr,
    const std::vector<Companion>& companions = {}, const Advance& advance = [](const Window&, double) {});

}  // namespace qroar
