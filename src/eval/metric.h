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
#include "model/angles.h"

namespace qroar {

struct Llama;

/// What a metric compares with: the evaluated model in full precision, or another checkpoint.
struct ReferenceModel {
  const Llama& model;
  const AnglesOf& angles_of;
};

/// A window that is about to be scored.
struct ScoredWindow {
  const Window& window;
  const at::Tensor& tokens_T;       ///< what the model sees, int64 on its device
  const ReferenceModel* reference;  ///< null where no metric asks for it
};

/// Some neighbouring scored positions of one window.  R rows, V vocabulary.
struct LogitBlock {
  int64_t first;  ///< the row's place in the window: row r is that of token first + r of what the model sees
  const at::Tensor& logits_RV;        ///< in the model's dtype, on its device
  const at::Tensor& targets_R;        ///< int64, on the model's device
  const at::Tensor& nll_R;            ///< float64 on the CPU: -ln p(target)
  const at::Tensor& reference_RV;     ///< logits of the reference; undefined where no metric asks for them
  const at::Tensor& reference_nll_R;  ///< as nll_R, of the reference; undefined with it
};

struct MetricValue {
  std::string name;
  double value = 0;    ///< never NaN; infinite where it is beyond double
  double stderr_ = 0;  ///< standard error; NaN where one sample gives none, or the value is infinite
  int64_t count = 0;   ///< what was averaged over
};

/// A window is over: end_window() hands out what its blocks come to, and take() gets it back, at once or, after a kill,
/// from disk.  So values() depend on take() alone, and a cell that was cut off ends with the same bits.
class Metric {
 public:
  static constexpr const char* kKind = "metric";
  virtual ~Metric() = default;

  /// Hears once, before all else, of the cell's windows and data; throws an Error with the place of an option that does
  /// not suit them.
  virtual void bind(const WindowRule&, const DataSpec&) {}
  /// Looks at the documents and their windows, of which there are some, before the first cell runs; an Error names a
  /// document that lacks what the metric needs, or says that no window gives it anything to average.
  virtual void check(const std::vector<Document>&, const std::vector<Window>&) const {}
  /// Does it compare with a reference?  That costs a second forward for every window.
  virtual bool needs_reference() const { return false; }

  virtual void begin_window(const ScoredWindow&) {}
  /// Blocks come in order; how a window is cut into blocks must not change values().
  virtual void add(const LogitBlock& block) = 0;
  /// Finite numbers only, which is checked.
  virtual Json end_window() = 0;
  /// Windows come in order.
  virtual void take(const Window& window, const Json& sums) = 0;

  virtual std::vector<MetricValue> values(Aggregate aggregate, const std::vector<Document>& documents) const = 0;
  /// A curve and its name: cells/<id>/metrics/<name>.csv.
  virtual std::optional<std::pair<std::string, CsvTable>> curve() const { return std::nullopt; }
};

/// Sums as they are kept on disk.
inline Json to_json(const Moments& moments) { return {moments.count, moments.sum, moments.square_sum}; }
inline Moments moments_of(const Json& json) { return {json[0], json[1], json[2]}; }

}  // namespace qroar
