// The interface of a diagnostic: an inspection of a cell's model, after and separate from its evaluation, so that no
// loss can depend on it.  Its table becomes cells/<id>/diagnostics/<type>.csv.
#pragma once
#include <vector>

#include "base/csv.h"
#include "config/registry.h"
#include "eval/evaluate.h"
#include "quant/plan.h"
#include "rope/scheme.h"

namespace qroar {

/// The input of a diagnostic.  A diagnostic writes to none of it.
struct DiagnosticInput {
  /// The model without rounding, in the same coordinates as the evaluated one: the scales that the plan folds and its
  /// rotations, which do not change the model's function, are applied to both, so weights and activations can be
  /// compared element by element.
  const Llama& full;
  const Llama& model;  ///< as it was evaluated; shares with `full` whatever rounding does not change
  const QuantPlan& quant;
  const std::vector<Document>& documents;
  const std::vector<Window>& windows;  ///< all windows of the cell
  const Feed& feed;
  const AnglesOf& angles_of;  ///< of the cell's scheme
  const RopeScheme& scheme;
  const RopeGeometry& geometry;

  /// Returns the tokens [T] of a window, on the device.
  at::Tensor tokens_T(const Window& window) const {
    return window_tokens(documents[static_cast<std::size_t>(window.document)], window, feed, model);
  }

  /// Returns the first `count` windows, or all where there are fewer.
  std::vector<Window> first_windows(int64_t count) const {
    return {windows.begin(), windows.begin() + std::min(count, static_cast<int64_t>(windows.size()))};
  }
};

class Diagnostic {
 public:
  static constexpr const char* kKind = "diagnostic";
  virtual ~Diagnostic() = default;

  /// Throws an Error with the place of an option that does not fit the model or the windows.
  virtual void check_cell(const LlamaConfig& config, const WindowRule& windows) const = 0;

  /// Runs its own forwards.  Memory: that of a forward and blocks of rows; never [T, T], never [T, V].
  virtual CsvTable run(const DiagnosticInput& input) const = 0;
};

}  // namespace qroar
