// The interface of a diagnostic: a look into the model of a cell, after and outside of its evaluation, so that no loss
// can depend on it.  Its table becomes cells/<id>/diagnostics/<type>.csv.
#pragma once
#include <vector>

#include "base/csv.h"
#include "config/registry.h"
#include "eval/evaluate.h"
#include "quant/plan.h"
#include "rope/scheme.h"

namespace qroar {

/// What a diagnostic may look at.  Nothing of it may be written to.
struct DiagnosticInput {
  /// The model without rounding, in the coordinates of the evaluated one: whatever the plan folds into weights or
  /// rotates without changing the model's function is done to both, so weights and activations compare one to one.
  const Llama& full;
  const Llama& model;  ///< as it was evaluated; what rounding leaves alone it shares with `full`
  const QuantPlan& quant;
  const std::vector<Document>& documents;
  const std::vector<Window>& windows;  ///< all of the cell's
  const Feed& feed;
  const AnglesOf& angles_of;  ///< under the cell's scheme
  const RopeScheme& scheme;
  const RopeGeometry& geometry;

  /// The tokens [T] of a window, on the device.
  at::Tensor tokens_T(const Window& window) const {
    return window_tokens(documents[static_cast<std::size_t>(window.document)], window, feed, model);
  }

  /// The first `count` windows, or all where there are fewer.
  std::vector<Window> first_windows(int64_t count) const {
    return {windows.begin(), windows.begin() + std::min(count, static_cast<int64_t>(windows.size()))};
  }
};

class Diagnostic {
 public:
  static constexpr const char* kKind = "diagnostic";
  virtual ~Diagnostic() = default;

  /// Throws an Error with the place of the option that does not suit the model or the windows.
  virtual void check_cell(const LlamaConfig& config, const WindowRule& windows) const = 0;

  /// Runs forwards of its own.  Memory: that of a forward and blocks of rows; never [T, T], never [T, V].
  virtual CsvTable run(const DiagnosticInput& input) const = 0;
};

}  // namespace qroar
