// From the diagnostics of the bands to the space that is searched (docs/method.md 4.3; our reconstruction of "a small
// grid search guided by the diagnostics").
#pragma once
#include "search/journal.h"
#include "search/scoring.h"
#include "search/spec.h"

namespace qroar {

/// What the diagnostics say of every dimension of a layout: its band's mean interpolation pressure at the longest
/// window, and the tail inflation TIR_W at p = 0.99 of what it scales, that of queries or keys whichever is larger, as
/// a mean over the layers that it scales.  Empty: nothing is known.
struct BandGuide {
  std::vector<double> pressure, inflation;
};

/// Two forwards of the first dev documents, at search.short_length and at the longest window, which the journal keeps.
BandGuide guide_of(const BandSearch& search, const SearchInput& input, const RopeScheme& scheme,
                   const RopeGeometry& geometry, Journal& journal);

/// Per dimension the grid's values.  With a guide: a band with pressure IP keeps the part 1 - narrow * IP / max IP of
/// the grid's points on either side of 1, at least one; where inflation exceeds 1 + tolerance, none above 1; order by
/// inflation * pressure, largest first.  Without one: the whole grid, from the lowest frequencies on.
SearchSpace search_space(const SearchSpec& spec, const BandLayout& layout, const BandGuide& guide);

}  // namespace qroar
