// The interface of a metric over scored tokens.
#pragma once
#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "config/registry.h"
#include "data/windows.h"

namespace qroar {

/// Some neighbouring scored positions of one window.  R rows, V vocabulary.
struct LogitBlock {
  const Window& window;
  int64_t window_index;
  const at::Tensor& logits_RV;  ///< in the model's dtype, on its device
  const at::Tensor& targets_R;  ///< int64, on the model's device
  const at::Tensor& nll_R;      ///< float64 on the CPU: -ln p(target)
};

struct MetricValue {
  std::string name;
  double value = 0;
  double stderr_ = 0;  ///< standard error; NaN where one sample gives none
  int64_t count = 0;   ///< what was averaged over
};

class Metric {
 public:
  static constexpr const char* kKind = "metric";
  virtual ~Metric() = default;
  /// Blocks come in order; how a window is cut into blocks must not change values().
  virtual void add(const LogitBlock& block) = 0;
  virtual std::vector<MetricValue> values(Aggregate aggregate) const = 0;
};

}  // namespace qroar
