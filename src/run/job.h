// One fully resolved job: everything a cell needs, parsed and checked before any device time is used.
#pragma once
#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/packed.h"
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
  Config block;                  ///< the block as written
  std::filesystem::path folder;  ///< see checkpoint/export.h
  bool full_precision = false;   ///< weights: full_precision ignores `quant`
  PackedGrids grids;             ///< weights: packed: those of the layers that `quant` names
  std::string label;             ///< of `quant` as written
};

/// The result of open_models() for a model's folder.
struct OpenedModel {
  WeightCounts weights;            ///< of all its tensors
  WeightCounts reference_weights;  ///< of the other checkpoint that metrics compare with, where there is one
  std::string tokenizer_hash;      ///< hash of the file of the tokenizer
  std::shared_ptr<const Tokenizer> tokenizer;  ///< null where all texts are token files
};

/// The model: the blocks `model` and `reference`.
struct JobModel {
  ModelSpec spec;
  LlamaConfig config;
  OpenedModel opened;
  /// The reason why the model cannot be opened, empty where it can.  Where even its config.json cannot be read, the job
  /// has only `resolved`, the configuration as written, and `id`, its hash.
  std::string open_error;
  std::optional<ReferenceSpec> reference;  ///< what metrics compare with, where that is another checkpoint
};

/// The input: `data`, `windows`, `tasks`.
struct JobData {
  std::optional<DataSpec> text;  ///< may be absent where there are tasks
  WindowRule windows;
  std::vector<std::shared_ptr<Task>> tasks;
};

/// The changes to the model: `rope`, `rescale`, `quant` and the blocks that belong to it.
struct JobMethod {
  std::shared_ptr<const RopeScheme> rope;
  RopeGeometry geometry;
  std::shared_ptr<const Rescaling> rescaling;
  std::optional<BandSearch> search;               ///< the search that finds the rescaling's scales
  Quantization quantization;                      ///< the quantization that is evaluated
  std::optional<Quantization> searched;           ///< what scales are searched with, where it is different
  std::shared_ptr<const RopeScheme> search_rope;  ///< the scheme that scales are searched under, where it is different
};

/// What a cell measures and writes: `metrics`, `diagnostics`, `export`.
struct JobOutput {
  std::vector<std::unique_ptr<Metric>> metrics;  ///< of windows of text; none where there is no `data`
  /// Makes the same metrics without values, since a metric keeps its values and a cell may be evaluated again.
  std::function<std::vector<std::unique_ptr<Metric>>()> make_metrics;
  std::map<std::string, std::unique_ptr<Diagnostic>> diagnostics;  ///< by type
  std::optional<ExportSpec> exported;                              ///< not in the id: exports change no number
  std::map<std::string, std::string> controls;  ///< of a search: the ids of its controls, by name (run/controls.h)
};

/// The config.json of each model folder.
using ModelConfigs = std::map<std::filesystem::path, LlamaConfig>;

struct Job {
  std::string id;  ///< 16 hexadecimal digits: the hash of `resolved`
  Json axes =
      Json::object();  ///< value of each sweep axis, as written; for a search also the blocks that its controls change
  Json resolved;       ///< every key that was read and every default that was used
  int64_t seed = 0;
  JobModel model;
  JobData data;
  JobMethod method;
  JobOutput output;
  /// Cells with equal first entries share weights; with more equal entries they also share calibrations or searches.
  std::vector<std::string> shared;

  /// Reads every key, builds every plugin, reads config.json, checks rules against the model's layers and that the data
  /// file exists.  Throws an Error with its place, except for a config.json that cannot be read (`model.open_error`).
  /// `read`: what other jobs of the experiment have read, of which one reading serves all.
  Job(const SweepPoint& point, ModelConfigs& read);

  /// Returns whether a metric compares with a reference.
  bool needs_reference() const {
    return std::ranges::any_of(output.metrics, [](const auto& metric) { return metric->needs_reference(); });
  }

  /// Returns the key of what works on resident weights alone ("tasks"); empty where nothing does.
  std::string needs_resident_weights() const;

  const Quantization& search_quantization() const { return method.searched ? *method.searched : method.quantization; }
  const RopeScheme& search_rope() const { return method.search_rope ? *method.search_rope : *method.rope; }
  /// Returns the cell's geometry; for a scheme of the search's own, the one whose target is its longest window.
  RopeGeometry search_geometry() const;

  /// Returns the scheme's table for a sequence of `length` tokens, rescaled; `full`: the model before any change.
  RopeTable table(int64_t length, const Llama& full) const {
    return method.rescaling->table(method.rope->table(method.geometry, length), method.geometry, full);
  }
  RopeTable search_table(int64_t length, const Llama& full) const {
    const RopeGeometry geometry = search_geometry();
    return method.rescaling->table(search_rope().table(geometry, length), geometry, full);
  }
  /// Throws an Error at the block `windows` for windows that the model does not support.
  void check_windows(const Config& place) const;
  /// Returns the table of the model as it was trained.
  RopeTable trained_table(int64_t length) const;

 private:
  /// Builds the scheme of `rescale.search.rope`.
  void bind_search_rope();
};

/// Returns all jobs of an experiment file in the order of its sweep, each search followed by those of its controls that
/// the sweep does not contain.  The Error for a bad experiment has a line for each distinct complaint about a cell.
std::vector<Job> parse_experiment(const std::filesystem::path& file, const std::vector<std::string>& overrides);

}  // namespace qroar
