// The interface of a search strategy: it decides which scales are tried next, never what counts as better.
#pragma once
#include <functional>
#include <random>
#include <vector>

#include "config/registry.h"

namespace qroar {

/// The block `grid`: `points` values of ln g, 0 in their middle, evenly spaced down to ln low and up to ln high.
struct SearchGrid {
  double low = 0.8, high = 1.25;
  int64_t points = 7;

  SearchGrid() = default;
  /// Reads low, high, points (odd, so that 1 is among them).
  explicit SearchGrid(const Config& config);
  std::vector<double> values() const;
};

/// Where the scales may lie.  A point is a vector of ln g, one per dimension.
struct SearchSpace {
  std::vector<std::vector<double>> values;  ///< per dimension: the grid's values in its window, ascending, 0 among them
  std::vector<std::size_t> order;           ///< dimensions, the most promising first

  std::size_t size() const { return values.size(); }
  /// A point of the grid, every value of a window as likely as another.
  std::vector<double> drawn(std::mt19937_64& random) const;
  /// The point moved into the windows.
  std::vector<double> clamped(std::vector<double> point) const;
};

/// A point and what it scores.
struct ScoredPoint {
  std::vector<double> point;
  double score = 0;
};

/// One sweep of coordinate descent from `best`: all of a dimension's values in the others' best place, in the space's
/// order.  Did it find something better?
bool coordinate_sweep(const SearchSpace& space, const std::function<double(const std::vector<double>&)>& score,
                      ScoredPoint& best);

/// What strategies see of the objective.  Whatever they ask for is logged, kept on disk and not computed twice.
class Objective {
 public:
  virtual ~Objective() = default;
  /// Weighted mean NLL over the dev windows, nats per token; infinite for a point that the guard refuses and, once
  /// exhausted(), for every new one.
  virtual double score(const std::vector<double>& point) = 0;
  /// d score / d point.
  virtual std::vector<double> gradient(const std::vector<double>& point) = 0;
  /// Distortion of the attention logits against full precision: far cheaper than score().
  virtual double proxy(const std::vector<double>& point) = 0;
  /// Is the budget spent?
  virtual bool exhausted() const = 0;
};

class Strategy {
 public:
  static constexpr const char* kKind = "search strategy";
  virtual ~Strategy() = default;
  /// The identity has been scored before.  Best of all scored points wins, so a search never ends worse than it began.
  /// Draws only from `random`: equal seeds give equal histories.
  virtual void run(Objective& objective, const SearchSpace& space, std::mt19937_64& random) const = 0;
  /// Does it run without a budget, too?
  virtual bool ends_by_itself() const = 0;
  virtual bool asks_for_proxy() const { return false; }
};

}  // namespace qroar
