// The interface of a metric over scored tokens.
#pragma once
#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <vector>

#include "base/csv.h"
#include "base/statistics.h"
#include "config/registry.h"
#include "data/dataset.h"
#include "data/windows.h"
#include "eval/clusters.h"
#include "model/angles.h"

namespace qroar {

struct Llama;

/// The model that a metric compares with: the evaluated model in full precision, or another checkpoint.
struct ReferenceModel {
  const Llama& model;
  const AnglesOf& angles_of;
};

/// A window that is about to be scored.
struct ScoredWindow {
  const Window& window;
  const at::Tensor& tokens_T;       ///< what the model sees, int64 on its device
  const ReferenceModel* reference;  ///< null when no metric needs it
};

/// Consecutive scored positions of one window.  R rows, V vocabulary.
struct LogitBlock {
  int64_t first;                   ///< position in the window: row r belongs to token first + r of what the model sees
  const at::Tensor& logits_RV;     ///< in the model's dtype, on its device
  const at::Tensor& targets_R;     ///< int64, on the model's device
  const at::Tensor& nll_R;         ///< float64 on the CPU: -ln p(target)
  const at::Tensor& reference_RV;  ///< logits of the reference; undefined when no metric needs them
  const at::Tensor& reference_nll_R;  ///< the same for the reference; undefined when reference_RV is
};

struct MetricValue {
  std::string name;
  double value = 0;                       ///< never NaN; infinite where it exceeds double
  double stderr_ = 0;                     ///< standard error; NaN where one sample gives none, or the value is infinite
  int64_t count = 0;                      ///< number of averaged units
  std::vector<ScoredCluster> clusters{};  ///< what was averaged, by cluster; empty for percentiles and counts
  std::string link{};                     ///< from the clusters' mean to the value: see linked() in results/clusters.h
};

/// A metric over places, with an interval for each.
struct Curve {
  std::string name;  ///< of its table: cells/<id>/metrics/<name>.csv
  CsvTable table;
  std::vector<MetricValue> points;  ///< for clusters.csv alone
};

/// A metric over scored tokens.  end_window() returns the sums of a window's blocks, and take() gets them back, at once
/// or, after the process was killed, from disk.  Therefore values() depends on take() alone, and a resumed cell ends
/// with the same bits.
class Metric {
 public:
  static constexpr const char* kKind = "metric";
  virtual ~Metric() = default;

  /// Called once, first, with the cell's windows and data; throws an Error, with its place, for an option that does not
  /// fit them.
  virtual void bind(const WindowRule&, const DataSpec&) {}
  /// Checks the documents and their windows, of which there is at least one, before the first cell runs.  Throws an
  /// Error for a document that lacks what the metric needs, or when no window gives it anything to average.
  virtual void check(const std::vector<Document>&, const std::vector<Window>&) const {}
  /// Returns whether the metric compares with a reference, which costs a second forward for every window.
  virtual bool needs_reference() const { return false; }

  virtual void begin_window(const ScoredWindow&) {}
  /// Adds a block; blocks come in order, and values() must not depend on how a window is divided into blocks.
  virtual void add(const LogitBlock& block) = 0;
  /// Returns the sums of the window: only finite numbers, which the caller checks.
  virtual Json end_window() = 0;
  /// Takes the sums of a window; windows come in order.
  virtual void take(const Window& window, const Json& sums) = 0;

  virtual std::vector<MetricValue> values(Aggregate aggregate, const std::vector<Document>& documents) const = 0;
  virtual std::optional<Curve> curve(const std::vector<Document>&) const { return std::nullopt; }
};

/// Returns the sums as they are stored on disk.
inline Json to_json(const Moments& moments) { return {moments.count, moments.sum, moments.square_sum}; }
inline Moments moments_of(const Json& json) { return {json[0], json[1], json[2]}; }

}  // namespace qroar
