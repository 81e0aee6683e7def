// Checks rows and plans as they are read: JSON files that other versions may have written, or people edited.
#pragma once
#include <functional>
#include <string>

#include "config/config.h"

namespace qroar {

/// Calls `refuse`, which throws, with a description of the problem where a row (row.json) or a plan (plan.json) lacks a
/// value that this program reads without checking, or has one of another type; for a row also where its id is not `id`.
using Refuse = std::function<void(const std::string& what)>;
void check_row(const Json& row, const std::string& id, const Refuse& refuse);
void check_plan(const Json& plan, const Refuse& refuse);

}  // namespace qroar
