// What `rescale: {type: bands, search: {...}}` says.
#pragma once
#include <optional>

#include "data/dataset.h"
#include "rescale/band_scales.h"
#include "search/strategy.h"

namespace qroar {

struct SearchSpec {
  DataSpec data;                 ///< dev documents; none of them may be evaluated
  std::vector<int64_t> lengths;  ///< of the windows that are scored, one a document and length
  std::vector<double> weights;   ///< of each length in the objective
  int64_t short_length = 512;    ///< of the windows that the guard looks at
  double guard = 0.005;          ///< a candidate is refused that raises their perplexity by more than this part
  SearchGrid grid;
  bool guided = true;       ///< do pressure and tail inflation narrow and order the space?
  double narrow = 0.5;      ///< part of its range that the band with the highest interpolation pressure loses
  double tolerance = 0.05;  ///< a band whose tails inflate by more than this part is not scaled up
  double budget = 0;        ///< forwards over the dev windows that the search may cost; 0: no limit
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
  bool randomize;  ///< control: random scales of the same norm take the place of those found
};

/// Reads control and search of the block `rescale`.  Throws an Error where the strategy cannot tell such scales apart.
BandSearch read_search(const Config& rescale, const BandLayout& layout);

}  // namespace qroar
