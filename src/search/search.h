// A search for band scales: the strategy proposes points; this code scores, rejects, logs and stores them.
#pragma once
#include <string>

#include "base/csv.h"
#include "search/scoring.h"
#include "search/space.h"

namespace qroar {

struct SearchResult {
  BandScales scales;  ///< the best that the guard accepted, or those of a control (SearchControl)
  CsvTable history;   ///< every candidate in order: its scales, scores and status
  Json summary;
};

/// Returns pressure and inflation on the input's documents; not called for another guide.
using FindPressure = std::function<BandGuide(const SearchInput&, Journal&)>;

/// Runs the search, or reads its known results: every score goes at once into a journal under
/// cache_folder()/search/<hash of key>.  A killed search therefore continues where it stopped, a finished one costs
/// nothing, and both end with the same bits.  `key`: everything that scores depend on besides the search's own block.
/// Where the guard refuses every candidate, scales stay 1, the summary has a `note` and the log a warning.  Throws an
/// Error for a dev document shorter than a window and for a score that is not finite.
SearchResult search(const BandSearch& search, const SearchInput& input, const FindPressure& find_pressure,
                    const std::string& key);

/// Returns scales along a random direction with the same norm of ln g as `scales`.  Scales of a layer without RoPE have
/// no effect: they are 1 and count in neither norm.
BandScales random_of_same_norm(const BandScales& scales, const Llama& model, uint64_t seed);

}  // namespace qroar
