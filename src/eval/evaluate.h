// Runs a model over windows and feeds its metrics, holding logits only in blocks of rows.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "base/statistics.h"
#include "data/dataset.h"
#include "data/windows.h"
#include "eval/metric.h"
#include "eval/parts.h"
#include "eval/token_losses.h"
#include "model/llama.h"

namespace qroar {

/// What is kept of one window: enough to compare two rows in pairs.
struct WindowLoss {
  Window window;
  Moments nll;  ///< of its scored tokens, nats
};

struct EvaluationInput {
  const Llama& model;
  const ReferenceModel* reference;  ///< may be null when no metric needs it
  const AnglesOf& angles_of;
  const std::vector<Document>& documents;
  const std::vector<Window>& windows;
  const Feed& feed;
};

/// Scores all windows in order; short windows of one length go through the model several at a time.  `store` may be
/// null. `after_window` is called after each finished window (progress).  Throws an Error for a loss that is not
/// finite; the message names the document, the position and the first place in the model whose values are not finite.
std::vector<WindowLoss> evaluate(const EvaluationInput& input, const std::vector<std::unique_ptr<Metric>>& metrics,
                                 PartStore* store, const std::function<void(const Window&)>& after_window);

/// Returns the tokens [T] that the model sees in a window, int64 on its device.
at::Tensor window_tokens(const Document& document, const Window& window, const Feed& feed, const Llama& model);

}  // namespace qroar
