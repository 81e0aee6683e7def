// Cross-validation of a search over its dev texts: what scales gain on texts that they were not searched on.
#pragma once
#include <functional>

#include "search/scoring.h"

namespace qroar {

/// Returns for each fold the indices of its documents: groups in the order of their first document, dealt out in turn.
/// Pieces of one text stay together, because scales found on one piece have seen the others' style and words.  Throws
/// an Error for fewer groups than folds.
std::vector<std::vector<std::size_t>> folds_of(const std::vector<Document>& documents, int64_t folds);

/// What a search on a fold's complement came to.
struct FoldGains {
  double searched = 0;  ///< on the documents that it searched on, nats per token
  double held_out = 0;  ///< on the fold's documents
  std::vector<double> g;
};

/// Returns {"gain", "folds": [{"documents", "searched_gain", "held_out_gain", "g"}]}; `gain` is the mean of the
/// held-out gains, weighted by documents.  `gains_of(complement, fold)` takes indices of documents.
Json cross_validated(
    const std::vector<Document>& documents, int64_t folds,
    const std::function<FoldGains(const std::vector<std::size_t>&, const std::vector<std::size_t>&)>& gains_of);

}  // namespace qroar
