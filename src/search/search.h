// A search for band scales: the strategy asks, this scores, refuses, logs and remembers.
#pragma once
#include <string>

#include "base/csv.h"
#include "search/scoring.h"
#include "search/space.h"

namespace qroar {

struct SearchResult {
  BandScales scales;  ///< the best that the guard let pass, or random ones of the same norm
  CsvTable history;   ///< every candidate in order: its scales, scores and what became of it
  Json summary;
};

/// Runs the search, or reads what is known of it: everything that is scored goes at once into a journal under
/// cache_folder()/search/<hash of key>, so that a search that was killed goes on where it stopped, a finished one costs
/// nothing, and both end with the same bits.  `key`: all that scores depend on beside the search's own block.  Errors:
/// a dev document shorter than a window; a score that is not finite; a guard that refuses every candidate.
SearchResult search(const BandSearch& search, const SearchInput& input, const std::function<BandGuide(Journal&)>& guide,
                    const std::string& key);

/// Scales along a random direction, as far from 1 as `scales` are: the norm of ln g is the same.
BandScales random_of_same_norm(const BandScales& scales, uint64_t seed);

}  // namespace qroar
