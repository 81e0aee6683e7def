// From a cell whose scales are searched to the scales.
#pragma once
#include "results/results.h"
#include "run/cell.h"
#include "run/models.h"

namespace qroar {

/// Dev windows are windows of documents of their own, whatever the protocol of the evaluation.
Feed dev_feed(const Job& job);

struct FoundScales {
  std::shared_ptr<const Rescaling> rescaling;
  SearchOutput output;
};

/// Searches on the cell's dev documents, or takes what the search's journal knows.  `angles_of`: of the cell's scheme.
FoundScales find_scales(const Cell& cell, Models& models, const Llama& original, const AnglesOf& angles_of);

}  // namespace qroar
