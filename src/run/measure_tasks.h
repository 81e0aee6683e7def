// The part of a cell that asks the questions of its tasks.
#pragma once
#include <functional>

#include "results/partial.h"
#include "run/cell.h"
#include "run/measured.h"

namespace qroar {

/// Called with the operations done since and the name of the task.
using AdvanceTask = std::function<void(double flops, const std::string& task)>;

/// Runs the tasks.  Where there are windows, too, the row's time does not include that of the tasks.
Measured measure_tasks(const Cell& cell, const Llama& model, const TableOf& table_of, const AnglesOf& angles_of,
                       PartialCell& partial, const AdvanceTask& advance);

}  // namespace qroar
