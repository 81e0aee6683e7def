// One fully resolved job: everything a cell needs, parsed and checked before the first second of device time.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "config/sweep.h"
#include "data/dataset.h"
#include "data/windows.h"
#include "diagnostics/diagnostic.h"
#include "eval/metric.h"
#include "eval/task.h"
#include "quant/quantization.h"
#include "rescale/rescaling.h"
#include "rope/scheme.h"
#include "run/reference.h"
#include "search/spec.h"

namespace qroar {

/// The YAML block `export`: {folder: DIR, weights: quantized}.
struct ExportSpec {
  Config block;                  ///< where it was written
  std::filesystem::path folder;  ///< see checkpoint/export.h
  bool full_precision = false;   ///< weights: full_precision leaves out all that `quant` says
};

/// What open_models() finds in a model's folder.
struct OpenedModel {
  int64_t weights = 0;                         ///< numbers in all its tensors
  std::string tokenizer_hash;                  ///< of the file that its tokens are made with
  std::shared_ptr<const Tokenizer> tokenizer;  ///< null where all texts are token files
};

/// Which model: the blocks `model` and `reference`.
struct JobModel {
  ModelSpec spec;
  LlamaConfig config;
  OpenedModel opened;
  /// Why the model cannot be opened, empty where it can.  Where even its config.json cannot be read, nothing else of a
  /// job is set but `resolved`, the configuration as it was written, and `id`, its hash.
  std::string unopened;
  std::optional<ReferenceSpec> reference;  ///< what metrics compare with, where that is another checkpoint
};

/// On what: `data`, `windows`, `tasks`.
struct JobData {
  std::optional<DataSpec> text;  ///< may be left out where there are tasks
  WindowRule windows;
  std::vector<std::shared_ptr<Task>> tasks;
};

/// What is done to the model: `rope`, `rescale`, `quant` and what belongs to it.
struct JobMethod {
  std::shared_ptr<const RopeScheme> rope;
  RopeGeometry geometry;
  std::shared_ptr<const Rescaling> rescaling;
  std::optional<BandSearch> search;      ///< that finds the rescaling's scales
  Quantization quantization;             ///< what is evaluated
  std::optional<Quantization> searched;  ///< what scales are searched on, where that is something else
};

/// What a cell measures and leaves: `metrics`, `diagnostics`, `export`.
struct JobOutput {
  std::vector<std::unique_ptr<Metric>> metrics;  ///< of windows of text; none where there is no `data`
  /// The same metrics without values, since a metric keeps what it was given and a cell may be evaluated again.
  std::function<std::vector<std::unique_ptr<Metric>>()> fresh_metrics;
  std::map<std::string, std::unique_ptr<Diagnostic>> diagnostics;  ///< by type
  std::optional<ExportSpec> exported;           ///< not in the id: what a cell leaves elsewhere changes no number
  std::map<std::string, std::string> controls;  ///< of a search: the ids of its controls, by name (run/controls.h)
};

struct Job {
  std::string id;  ///< 16 hexadecimal digits: the hash of `resolved`
  Json axes =
      Json::object();  ///< value of each sweep axis, as written; of a search also the blocks its controls change
  Json resolved;       ///< every key that was read and every default that was taken
  int64_t seed = 0;
  JobModel model;
  JobData data;
  JobMethod method;
  JobOutput output;
  /// Cells that agree in the first of these share weights, in more of them calibrations or searches.
  std::vector<std::string> shared;

  /// Reads every key, builds every plugin, reads config.json, checks rules against the model's layers and the data
  /// file's presence. Throws an Error with its place, but for a config.json that cannot be read (`model.unopened`).
  explicit Job(const SweepPoint& point);

  /// Does a metric compare with a reference?
  bool needs_reference() const {
    return std::ranges::any_of(output.metrics, [](const auto& metric) { return metric->needs_reference(); });
  }

  const Quantization& search_quantization() const { return method.searched ? *method.searched : method.quantization; }

  /// The scheme's table for a sequence of `length` tokens, rescaled; `full`: the model before anything is done to it.
  RopeTable table(int64_t length, const Llama& full) const {
    return method.rescaling->table(method.rope->table(method.geometry, length), method.geometry, full);
  }
  /// Throws an Error at the block `windows` for one that the model cannot take.
  void check_windows(const Config& place) const;
  /// The table of the model as it was trained.
  RopeTable trained_table(int64_t length) const;
};

/// All jobs of an experiment file in the order of its sweep, each search followed by those of its controls that the
/// sweep does not hold itself.  The Error for a bad experiment has a line for each distinct complaint about a cell.
std::vector<Job> parse_experiment(const std::filesystem::path& file, const std::vector<std::string>& overrides);

}  // namespace qroar
