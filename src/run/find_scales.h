// Finds the scales of a cell whose scales are searched.
#pragma once
#include "results/results.h"
#include "run/cell.h"
#include "run/models.h"

namespace qroar {

/// Returns the feed of dev windows: windows of their own documents, whatever the protocol of the evaluation.
Feed dev_feed(const Job& job);

struct FoundScales {
  std::shared_ptr<const Rescaling> rescaling;
  SearchOutput output;
};

/// Searches on the cell's dev documents, or uses the results in the search's journal.
FoundScales find_scales(const Cell& cell, Models& models, const Llama& original);

}  // namespace qroar
