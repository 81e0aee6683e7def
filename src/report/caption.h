// What the numbers of a table are, under it.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace qroar {

/// A line on values, model, RoPE, quantization, texts and protocol, with `paired` on the differences in it, and one for
/// each failed cell and each warning that rows carry.
std::string caption(const std::vector<Json>& rows, const std::string& paired);

}  // namespace qroar
