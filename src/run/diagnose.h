// The diagnostics of a cell, after its evaluation.
#pragma once
#include <map>
#include <string>

#include "base/csv.h"
#include "base/progress.h"
#include "run/cell.h"

namespace qroar {

/// Returns the table of each of the cell's diagnostics by its type; `original`, `full` and `model` as in
/// DiagnosticInput.  The row does not include their time and memory, which are not the evaluation's.  Says where it is
/// and throws Stopped, where that is asked for, between windows and between layers: nothing of them is kept.
std::map<std::string, CsvTable> diagnose(const Cell& cell, const Llama& original, const Llama& full, const Llama& model,
                                         const AnglesOf& angles_of, Progress& progress);

}  // namespace qroar
