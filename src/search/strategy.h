// The interface of a search strategy: it decides which scales are tried next, but not which are better.
#pragma once
#include <functional>
#include <random>
#include <vector>

#include "config/registry.h"

namespace qroar {

/// The block `grid`: `points` values of ln g with 0 in the middle, evenly spaced down to ln low and up to ln high.
struct SearchGrid {
  double low = 0.8, high = 1.25;
  int64_t points = 7;

  SearchGrid() = default;
  /// Reads low, high, points (odd, so that 1 is among them).
  explicit SearchGrid(const Config& config);
  std::vector<double> values() const;
};

/// The domain of the scales.  A point is a vector of ln g, one per dimension.
struct SearchSpace {
  std::vector<std::vector<double>> values;  ///< per dimension: the grid's values in its window, ascending, including 0
  std::vector<std::size_t> order;           ///< dimensions, the most promising first

  std::size_t size() const { return values.size(); }
  /// Returns a random point of the grid; all values of a window are equally likely.
  std::vector<double> drawn(std::mt19937_64& random) const;
  /// Returns the point moved into the windows.
  std::vector<double> clamped(std::vector<double> point) const;
};

/// A point and its score.
struct ScoredPoint {
  std::vector<double> point;
  double score = 0;
};

/// Runs one sweep of coordinate descent from `best`: tries all values of a dimension with the others at their best
/// values, in the space's order.  Returns whether it found a better point.
bool coordinate_sweep(const SearchSpace& space, const std::function<double(const std::vector<double>&)>& score,
                      ScoredPoint& best);

/// The strategies' view of the objective.  Everything they request is logged, stored on disk and not computed twice.
class Objective {
 public:
  virtual ~Objective() = default;
  /// Returns the weighted mean NLL over the dev windows in nats per token; infinite for a point that the guard rejects
  /// and, once exhausted(), for every new point.
  virtual double score(const std::vector<double>& point) = 0;
  /// Returns d score / d point.
  virtual std::vector<double> gradient(const std::vector<double>& point) = 0;
  /// Returns the distortion of the attention logits against full precision: far cheaper than score().
  virtual double proxy(const std::vector<double>& point) = 0;
  /// Returns whether the budget is spent.
  virtual bool exhausted() const = 0;
};

/// The cost of a gradient in forwards: we measured 6 to 10 in bfloat16, whose forward has an attention kernel that
/// autograd lacks, and 3.6 in float32 (experiments/LOG.md).
inline constexpr double kGradientCost = 8;

class Strategy {
 public:
  static constexpr const char* kKind = "search strategy";
  virtual ~Strategy() = default;
  /// Runs the search.  The identity has been scored before.  The best of all scored points wins, so a search never ends
  /// worse than it began.  Draws random numbers only from `random`: equal seeds give equal histories.
  virtual void run(Objective& objective, const SearchSpace& space, std::mt19937_64& random) const = 0;
  /// Returns the most forwards over the dev windows that it takes without a budget, for the estimate of a sweep's cost:
  /// infinite for a strategy that runs until its budget is spent.  A gradient counts as kGradientCost.
  virtual double most_forwards(std::size_t dimensions, int64_t points) const = 0;
  virtual bool asks_for_proxy() const { return false; }
  virtual bool asks_for_gradient() const { return false; }
};

}  // namespace qroar
