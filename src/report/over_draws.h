// Rows of several rounding draws as one.
#pragma once
#include "report/effects.h"

namespace qroar {

/// Returns the rows with those that differ only in `rounding` as one: its axes and configuration have no `rounding`,
/// its `draws` are [{draw, id}], with `searched` where scales were found in that draw and its `search` where the draws'
/// differ, and its metrics are means over the draws with their intervals.  A row whose cell failed stays alone.
std::vector<Json> over_draws(const std::vector<Json>& rows, Effects& effects);

}  // namespace qroar
