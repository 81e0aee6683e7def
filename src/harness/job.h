// One fully resolved job: everything a cell needs, parsed and checked before the first second of device time.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/sweep.h"
#include "data/dataset.h"
#include "data/windows.h"
#include "eval/metric.h"
#include "model/checkpoint.h"
#include "quant/calibration.h"
#include "quant/plan.h"
#include "rope/scheme.h"

namespace qroar {

struct Job {
  std::string id;  ///< 16 hexadecimal digits: the hash of `resolved`
  Json axes;       ///< value of each sweep axis, as written
  Json resolved;   ///< every key that was read and every default that was taken
  ModelSpec model;
  LlamaConfig llama;
  DataSpec data;
  WindowRule windows;
  std::shared_ptr<const RopeScheme> rope;
  RopeGeometry geometry;
  QuantPlan quant;
  std::optional<CalibrationSpec> calibration;  ///< set where a quantizer asks for it
  std::string quant_key;                       ///< equal for jobs that are evaluated with the same weights
  std::vector<std::unique_ptr<Metric>> metrics;
  int64_t seed = 0;

  /// Reads every key, builds every plugin, reads config.json, checks rules against the model's layers and the data
  /// file's presence. Throws an Error with its place.
  explicit Job(const SweepPoint& point);

  /// What calibration samples are rotated by: the scheme's table, or that of the model as it was trained.
  RopeTable calibration_table() const;
};

/// All jobs of an experiment file in the order of its sweep.
std::vector<Job> parse_experiment(const std::filesystem::path& file, const std::vector<std::string>& overrides);

}  // namespace qroar
