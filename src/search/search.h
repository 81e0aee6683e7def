// A search for band scales: the strategy proposes points; this code scores, rejects, logs and stores them.
#pragma once
#include <string>

#include "base/csv.h"
#include "search/scoring.h"
#include "search/space.h"

namespace qroar {

struct SearchResult {
  BandScales scales;  ///< the best that the guard accepted, or random ones of the same norm
  CsvTable history;   ///< every candidate in order: its scales, scores and status
  Json summary;
};

/// Runs the search, or reads its known results: every score goes at once into a journal under
/// cache_folder()/search/<hash of key>.  A killed search therefore continues where it stopped, a finished one costs
/// nothing, and both end with the same bits.  `key`: everything that scores depend on besides the search's own block.
/// Throws an Error for a dev document shorter than a window, for a score that is not finite, and when the guard rejects
/// every candidate.
SearchResult search(const BandSearch& search, const SearchInput& input, const std::function<BandGuide(Journal&)>& guide,
                    const std::string& key);

/// Returns scales along a random direction with the same norm of ln g as `scales`.
BandScales random_of_same_norm(const BandScales& scales, uint64_t seed);

}  // namespace qroar
