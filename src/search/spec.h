// The specification `rescale: {type: bands, search: {...}}`.
#pragma once
#include <optional>

#include "data/dataset.h"
#include "rescale/band_scales.h"
#include "search/strategy.h"

namespace qroar {

struct SearchSpec {
  DataSpec data;                 ///< dev documents, none of which may be evaluated
  std::vector<int64_t> lengths;  ///< of the scored windows, one per document and length
  std::vector<double> weights;   ///< of each length in the objective
  int64_t short_length = 512;    ///< of the windows that the guard checks
  double guard = 0.005;          ///< rejects a candidate that raises their perplexity by more than this fraction
  SearchGrid grid;
  bool guided = true;       ///< whether pressure and tail inflation narrow and order the space
  double narrow = 0.5;      ///< fraction of its range that the band with the highest interpolation pressure loses
  double tolerance = 0.05;  ///< a band whose tails inflate by more than this fraction is not scaled up
  double budget = 0;        ///< maximum cost of the search in forwards over the dev windows; 0: no limit
  int64_t seed = 0;
  std::shared_ptr<const Strategy> strategy;
  std::optional<Config>
      quantization;  ///< blocks rotation, quant, kv, calibration to search under; none: the cell's own

  /// Reads data and lengths (required), weights, short_length, guard, grid, guided, narrow, tolerance, budget, seed,
  /// strategy, quantization.
  explicit SearchSpec(const Config& config);
};

/// A search over the scales of a layout.
struct BandSearch {
  SearchSpec spec;
  BandLayout layout;
  bool randomize;  ///< control: random scales of the same norm replace the scales found
};

/// Reads control and search of the block `rescale`.  Throws an Error where the strategy cannot distinguish such scales.
BandSearch read_search(const Config& rescale, const BandLayout& layout);

}  // namespace qroar
