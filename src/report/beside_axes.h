// What rows differ in beside their axes: several runs of one experiment, edited or with other --set, share a folder.
#pragma once
#include <vector>

#include "config/config.h"

namespace qroar {

/// Of each row {path: value}, the columns that tell it from the others where no axis does: the smallest parts of the
/// configuration ("windows.length", "quant[0].weight.bits"; a block of another type as a whole) that two rows differ in
/// although neither has an axis there or above, and "environment.device" and "environment.dtype" where the
/// configuration says auto.  A column's rows without such a part, or with an axis there, have no entry.
/// `of_several_plans`: a row without an axis of others also gets what its configuration says there, since that is no
/// longer the same for all such rows.
std::vector<Json> beside_axes(const std::vector<Json>& rows, bool of_several_plans);

}  // namespace qroar
