// What rows differ in, and which of them are compared.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace qroar {

bool is_ok(const Json& row);
/// Are there losses over windows of text?
bool has_text(const Json& row);

/// The axes of all rows, in order of appearance.
std::vector<std::string> axis_names(const std::vector<Json>& rows);

/// A metric's value with its error as tables have it, "failed" for a row that is; empty where it has none.
std::string metric_text(const Json& row, const std::string& metric);

/// Of an axis or another path such as "quant[0].weight.bits" the JSON pointer: "/quant/0/weight/bits".
std::string place_of(const std::string& path);

/// The row's value there as tables have it; empty where it has none.
std::string axis_cell(const Json& row, const std::string& name);

/// Of each row the row it is compared with (ShowOptions::baseline), null where there is none; empty without a baseline.
/// An Error where no row is meant.
using Baselines = std::vector<const Json*>;
Baselines find_baselines(const std::vector<Json>& rows, const std::string& baseline);

}  // namespace qroar
