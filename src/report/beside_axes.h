// The differences between rows that no axis shows: several runs of one experiment, edited or with other --set, share a
// folder.
#pragma once
#include <vector>

#include "config/config.h"

namespace qroar {

/// Returns, for each row, {path: value}: the columns that distinguish it from the others where no axis does.  These are
/// the smallest parts of the configuration ("windows.length", "quant[0].weight.bits"; a block of another type as a
/// whole) in which two rows differ although neither has an axis there or above, and "environment.device" and
/// "environment.dtype" where the configuration says auto, and "quant" where checkpoints were quantized before in
/// different ways.  Rows without such a part, or with an axis there, have no entry for the column.
/// `of_several_plans`: a row that lacks an axis of other rows also gets its configured value there, since that is no
/// longer the same for all such rows.
std::vector<Json> beside_axes(const std::vector<Json>& rows, bool of_several_plans);

}  // namespace qroar
