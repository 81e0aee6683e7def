// Checks rows and plans as they are read: JSON files that other versions may have written, or people edited.
#pragma once
#include <functional>
#include <string>

#include "config/config.h"

namespace qroar {

/// Returns the value at a JSON pointer such as "/environment/started"; null where there is none.
const Json& value_at(const Json& tree, const std::string& place);

/// Calls `refuse`, which throws, with a description of the problem where a row (row.json) or a plan (plan.json) lacks a
/// value that this program reads without checking, or has one of another type.
using Refuse = std::function<void(const std::string& what)>;
void check_row(const Json& row, const Refuse& refuse);
void check_plan(const Json& plan, const Refuse& refuse);

}  // namespace qroar
