// What is read of rows and plans: JSON files that may be of other versions, or of other hands.
#pragma once
#include <functional>
#include <string>

#include "config/config.h"

namespace qroar {

/// What lies at a JSON pointer such as "/environment/started"; null where nothing does.
const Json& value_at(const Json& tree, const std::string& place);

/// Throws by `refuse`, which is told what is wrong, where a row (row.json) or a plan (plan.json) lacks something that
/// this program reads without asking first, or has something of another type there.
using Refuse = std::function<void(const std::string& what)>;
void check_row(const Json& row, const Refuse& refuse);
void check_plan(const Json& plan, const Refuse& refuse);

}  // namespace qroar
