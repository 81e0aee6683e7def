// Derives the search space from the diagnostics of the bands (docs/method.md 4.3; our reconstruction of "a small grid
// search guided by the diagnostics").
#pragma once
#include "search/journal.h"
#include "search/scoring.h"
#include "search/spec.h"

namespace qroar {

/// What is known of every dimension of a layout; lists are empty where the guide does not look at it.
struct BandGuide {
  std::vector<double> pressure;     ///< its band's mean interpolation pressure at the longest window
  std::vector<double> inflation;    ///< the tail inflation TIR_W at p = 0.99 of what it scales (of queries or keys,
                                    ///< whichever is larger), a mean over the layers that it scales
  std::vector<double> sensitivity;  ///< |d NLL / d ln g| at scales of 1 on the dev windows
};

/// Returns pressure and inflation.  Runs two forwards of the first dev documents, at search.short_length and at the
/// longest window; the journal stores the results.
BandGuide guide_of(const BandSearch& search, const SearchInput& input, const RopeScheme& scheme,
                   const RopeGeometry& geometry, Journal& journal);

/// Returns the grid's values per dimension.  A band with pressure IP keeps the fraction 1 - narrow * IP / max IP of the
/// grid's points on either side of 1, and at least one; where inflation exceeds 1 + tolerance, it keeps none above 1.
/// The order is by inflation * pressure, largest first.  Sensitivity narrows and orders in pressure's place, and caps
/// nothing.  Without a guide, every band keeps the whole grid, and the order starts at the lowest frequencies.
SearchSpace search_space(const SearchSpec& spec, const BandLayout& layout, const BandGuide& guide);

}  // namespace qroar
