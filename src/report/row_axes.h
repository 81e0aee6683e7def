// The axes in which rows differ, and which rows are compared.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace qroar {

bool is_ok(const Json& row);
/// Returns whether the row stands for a file that cannot be read.
bool is_damaged(const Json& row);
/// Returns whether the row has losses over windows of text.
bool has_text(const Json& row);

/// Returns the axes of all rows, in order of appearance.
std::vector<std::string> axis_names(const std::vector<Json>& rows);

/// Returns a metric's value with its error as shown in tables; "failed" for a failed row, empty where it has none.
std::string metric_text(const Json& row, const std::string& metric);

/// Returns the JSON pointer of an axis or another path: "/quant/0/weight/bits" for "quant[0].weight.bits".
std::string json_pointer_of(const std::string& path);

/// Returns whether the windows' stride is the one that they have by default, which follows from their length.
bool has_default_stride(const Json& config);

/// Returns the row's value there as shown in tables; empty where it has none.
std::string axis_cell(const Json& row, const std::string& name);
/// Returns the label of a row's quantizer behind what the weights of its checkpoint went through before, where it does
/// not say that yet.
std::string with_imported(const Json& row, const std::string& quantizer);

/// Returns the names of the sizes in which rows differ, of bits_per_weight and bits_per_cached_value: tables print them
/// behind the axes.
std::vector<std::string> size_names(const std::vector<Json>& rows);
/// Returns a size as shown in tables; empty where the row has none (it is of an older version).
std::string size_cell(const Json& row, const std::string& name);

/// Which rows differ in some axes alone, and so are compared.  What a level of an axis brings with it counts as that
/// axis: along `rope.type: [none, yarn]`, the `factor` that only yarn has.  Along `rope`, an axis `rope.factor` below
/// it stays one of its own.
class ComparedRows {
 public:
  ComparedRows(const std::vector<Json>& rows, const std::vector<std::string>& axes);

  /// Returns what of a row's configuration is not of the axes: equal for rows that differ in those alone. Calibration
  /// is left out, since rows that need none do not have it in their configuration; counterpart() minds it.
  std::string key(const Json& row) const;

  /// Returns the one of `candidates`, whose keys are the row's, that it is compared with: the one whose calibration is
  /// the row's but for the axes or, failing that, the one without any (where the row has none, the only one that has
  /// some). Null where there is none, or several.
  const Json* counterpart(const std::vector<const Json*>& candidates, const Json& row) const;

 private:
  /// Sets the values of the axes to null, and a stride that is the length by default with the length.
  void erase_axes(Json& config) const;
  Json calibration(const Json& row) const;

  std::vector<Json::json_pointer> axes_, of_levels_;
  std::vector<std::string> below_;
};

/// Returns the row's label on an axis, which may also be a place of the configuration; empty where it has none.
std::string level_of(const Json& row, const std::string& axis);

/// Returns the levels of an axis in order of appearance; throws an Error where no row has it, with the nearest name.
std::vector<std::string> levels_of(const std::vector<Json>& rows, const std::string& axis, const std::string& option);

/// Returns, for each row, its baseline (ShowOptions::baseline), null where there is none; empty without a baseline
/// option. Throws an Error when it matches no row.
using Baselines = std::vector<const Json*>;
Baselines find_baselines(const std::vector<Json>& rows, const std::string& baseline);

}  // namespace qroar
