// From the final hidden states of windows to their losses and the sums of their metrics, with logits only in blocks of
// rows.
#pragma once
#include <memory>
#include <vector>

#include "data/dataset.h"
#include "data/windows.h"
#include "eval/metric.h"
#include "model/llama.h"

namespace qroar {

using Metrics = std::vector<std::unique_ptr<Metric>>;

struct EvaluationInput {
  const Llama& model;
  const ReferenceModel* reference;  ///< may be null when no metric needs it
  const AnglesOf& angles_of;
  const std::vector<Document>& documents;
  const std::vector<Window>& windows;
  const Feed& feed;

  const Document& document_of(const Window& window) const {
    return documents[static_cast<std::size_t>(window.document)];
  }
  /// Returns the tokens [T] that the model sees in a window, int64 on its device.
  at::Tensor tokens(const Window& window) const;
};

/// Returns the tokens [T] that the model sees in a window, int64 on its device.
at::Tensor window_tokens(const Document& document, const Window& window, const Feed& feed, const Llama& model);

/// A window whose tokens are the first of a pass through the model.
struct ScoredPrefix {
  const EvaluationInput& input;
  const Window& window;
  const Metrics& metrics;
};

/// Returns {"nll": ..., "metrics": [...]} of windows that begin together: tokens [T], final hidden states [T, D] and
/// those of the reference, if there is one, are of the longest.  Windows that score the same block of rows share its
/// logits.  Throws an Error for a loss that is not finite; the message names the document, the position and the first
/// place in the model whose values are not finite.
std::vector<Json> score_windows(const std::vector<ScoredPrefix>& windows, const at::Tensor& tokens_T,
                                const at::Tensor& hidden_TD, const at::Tensor& reference_TD);

}  // namespace qroar
