// The interface of a diagnostic: an inspection of a cell's model, after and separate from its evaluation, so that no
// loss can depend on it.  Its table becomes cells/<id>/diagnostics/<type>.csv.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
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
  const AnglesOf& angles_of;  ///< of the scheme
  const RopeScheme& scheme;   ///< the cell's, with the frequencies that its rescaling makes of it (RescaledScheme)
  const RopeGeometry& geometry;
  const std::function<void()>& on_window;  ///< called whenever tokens_T() is; throws Stopped where that is asked for

  /// Returns the tokens [T] of a window, on the device.  What runs over all windows calls it for each before its work.
  at::Tensor tokens_T(const Window& window) const {
    on_window();
    return window_tokens(documents[static_cast<std::size_t>(window.document)], window, feed, model);
  }

  /// Returns how many of a window's scored tokens the model sees: all but one that lies beyond the window.
  int64_t scored_inside(const Window& window) const { return window.scored - (feed.beyond ? 1 : 0); }

  /// Returns the first `count` windows, or all where there are fewer.
  std::vector<Window> first_windows(int64_t count) const {
    return {windows.begin(), windows.begin() + std::min(count, static_cast<int64_t>(windows.size()))};
  }

  /// Returns `count` windows of at least `tokens` tokens, or all where there are fewer: the first of every document,
  /// then the second of every document and so on, so that an interval over documents has as many as can be.
  std::vector<Window> spread_windows(int64_t count, int64_t tokens = 2) const {
    std::map<int64_t, int64_t> seen;
    std::vector<std::pair<int64_t, Window>> by_round;
    for (const Window& window : windows) {
      if (tokens_seen(window, feed) >= tokens) by_round.emplace_back(seen[window.document]++, window);
    }
    std::ranges::stable_sort(by_round, {}, &std::pair<int64_t, Window>::first);
    std::vector<Window> found;
    for (const auto& [round, window] : by_round) {
      if (std::ssize(found) < count) found.push_back(window);
    }
    return found;
  }

  /// Returns a number for the cluster of a window's document (base/interval.h): that of the cluster's first document.
  int64_t cluster_of(const Window& window) const {
    const std::string& cluster = documents[static_cast<std::size_t>(window.document)].cluster();
    return std::ranges::find(documents, cluster, &Document::cluster) - documents.begin();
  }
};

/// About what a diagnostic takes: the time of so many forwards of each of so many of the cell's windows.
struct DiagnosticWork {
  int64_t windows = 0;
  double forwards = 0;
};

class Diagnostic {
 public:
  static constexpr const char* kKind = "diagnostic";
  virtual ~Diagnostic() = default;

  /// Throws an Error with the place of an option that does not fit the model or the windows.
  virtual void check_cell(const LlamaConfig& config, const WindowRule& windows) const = 0;

  /// Returns the work of run(), whatever it does beside its forwards counted by its time, for estimates.
  virtual DiagnosticWork work() const = 0;

  /// Runs its own forwards.  Memory: that of a forward and blocks of rows; never [T, T], never [T, V].
  virtual CsvTable run(const DiagnosticInput& input) const = 0;
};

}  // namespace qroar
