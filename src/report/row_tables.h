// The tables of rows that people read: grids by length or text where the rows form such, else one line a row.
#pragma once
#include <vector>

#include "report/differences.h"
#include "report/table.h"

namespace qroar {

/// Returns the metrics that tables show: perplexity without the mean NLL, and all others except percentiles.
std::vector<std::string> shown_metrics(const std::vector<Json>& rows);

/// Returns one table for each metric and each difference, with windows.length (or else the texts) across; where rows
/// form no such grid, one table with a line for each, without ids and costs where it is `for_paper`.  `own_baselines`:
/// whether each row has a baseline of its own; differences from one row are shown line by line.
std::vector<Table> row_tables(const std::vector<Json>& rows, const Differences& differences, bool own_baselines,
                              bool for_paper);

}  // namespace qroar
