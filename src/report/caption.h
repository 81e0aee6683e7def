// The text under a table that explains its numbers.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace qroar {

/// Returns a line on values, model, RoPE, quantization, texts and protocol, including `paired` on the differences, and
/// a line for each failed cell and each distinct warning of the rows.  of_values: whether the rows' own values are
/// shown, too.
std::string caption(const std::vector<Json>& rows, const std::string& paired, bool of_values = true);

}  // namespace qroar
