// The specification `rescale: {type: bands, search: {...}}`.
#pragma once
#include <optional>

#include "data/dataset.h"
#include "rescale/band_scales.h"
#include "search/strategy.h"

namespace qroar {

/// What narrows and orders the space before a strategy runs (search/space.h).
enum class SearchGuide {
  none,
  pressure,     ///< interpolation pressure and tail inflation
  sensitivity,  ///< |d NLL / d ln g| at scales of 1
};

struct SearchSpec {
  DataSpec data;                 ///< dev documents, none of which may be evaluated
  std::vector<int64_t> lengths;  ///< of the scored windows, one per document and length
  std::vector<double> weights;   ///< of each length in the objective
  int64_t short_length = 512;    ///< of the windows that the guard checks
  double guard = 0.005;          ///< rejects a candidate that raises their perplexity by more than this fraction
  SearchGrid grid;
  SearchGuide guide = SearchGuide::pressure;
  double narrow = 0.5;      ///< fraction of its range that the band with the most pressure or sensitivity loses
  double tolerance = 0.05;  ///< a band whose tails inflate by more than this fraction is not scaled up
  double budget = 0;        ///< maximum cost of the search in forwards over the dev windows; 0: no limit
  int64_t seed = 0;
  int64_t folds = 1;  ///< more than 1: also cross-validated over so many groups of dev documents (search/folds.h)
  std::shared_ptr<const Strategy> strategy;
  std::optional<Config>
      quantization;            ///< blocks rotation, quant, kv, calibration to search under; none: the cell's own
  std::optional<Config> rope;  ///< the scheme to search under; none: the cell's own

  /// Reads data and lengths (required), weights, short_length, guard, grid, guide, narrow, tolerance, budget, seed,
  /// folds, strategy, quantization, rope.
  explicit SearchSpec(const Config& config);
};

/// What takes the place of the scales found (docs/method.md 4.5).
enum class SearchControl {
  none,
  random,       ///< scales along a random direction, as far from 1 as those found
  temperature,  ///< one scale for all bands and layers, searched at the same cost
};

/// A search over the scales of a layout.
struct BandSearch {
  SearchSpec spec;
  BandLayout layout;
  SearchControl control = SearchControl::none;
  int64_t draw = 0;  ///< of random scales
};

/// Reads control, draw and search of the block `rescale`.  Throws an Error where the strategy cannot distinguish such
/// scales.
BandSearch read_search(const Config& rescale, const BandLayout& layout);

}  // namespace qroar
