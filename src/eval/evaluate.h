// Runs a model over windows and feeds its metrics, keeping logits in blocks of rows.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "base/statistics.h"
#include "data/dataset.h"
#include "data/windows.h"
#include "eval/metric.h"
#include "model/llama.h"

namespace qroar {

/// Rows of logits alive at a time: large enough for a fast matrix product, small enough that [R, V] stays tens of
/// megabytes.
inline constexpr int64_t kLogitRows = 256;

/// What is left of one window: enough to compare two rows in pairs.
struct WindowLoss {
  Window window;
  Moments nll;  ///< over its scored tokens, nats
};

/// cos and sin for a sequence of so many tokens; called once per window, so it should keep what it made.
using AnglesOf = std::function<ops::RopeAngles(int64_t length)>;

/// Scores all windows in order.  `after_window` hears of each finished one (progress).  A loss that is not finite is an
/// Error that names the document, the position and the first place in the model whose values are not finite.
std::vector<WindowLoss> evaluate(const Llama& model, const AnglesOf& angles_of, const std::vector<Document>& documents,
                                 const std::vector<Window>& windows, bool bos,
                                 const std::vector<std::unique_ptr<Metric>>& metrics,
                                 const std::function<void(const Window&)>& after_window);

/// The tokens [T] of a window, int64 on the model's device.
at::Tensor window_tokens(const Document& document, const Window& window, bool bos, const Llama& model);

/// Tokens the model sees in a window: its text tokens and BOS.
inline int64_t tokens_seen(const Window& window, bool bos) { return window.end - window.begin + (bos ? 1 : 0); }

}  // namespace qroar
