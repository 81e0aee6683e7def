// Cells whose windows go through the model in the same passes: a window that is the beginning of a longer one of
// another cell, with the same angles (the same model under a RoPE table that does not depend on the length).
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "eval/evaluate.h"
#include "results/claims.h"
#include "results/partial.h"
#include "run/cell.h"

namespace qroar {

/// Returns whether scoring the other cell's windows with the first one's saves passes, or, where layers are streamed,
/// the making of weights.
bool profits(const Cell& first, const Cell& other);

/// Windows of cells that may share passes, for finding those that others begin with.
class LongerWindows {
 public:
  /// The cell has to stay where it is.
  void add(const Cell& cell);
  /// Returns whether a window of a cell is the beginning of one that was added, with the same angles.
  bool hold(const Cell& cell, const Window& part) const;

 private:
  using Place = std::pair<std::string, int64_t>;  // as in eval/followers.cpp: cells may skip other documents
  static Place place(const Cell& cell, const Window& window);

  std::map<Place, std::vector<std::pair<const Cell*, const Window*>>> windows_;
};

/// Counts what the windows of cells take in the order in which they run.
class PassCount {
 public:
  /// Returns the floating point operations of Cell::flops() less those of windows that an earlier cell's begin with.
  double flops(const Cell& cell);

 private:
  const Cell* last_ = nullptr;
  std::map<std::string, LongerWindows> earlier_;  ///< by what cells that share passes have alike
};

/// Keeps in a cell's `partial` what another cell, which runs first, has scored for it.
class PartsForAnother : public WindowStore {
 public:
  /// `first`: the id of the cell that runs; `claim`: the other one's, without which nothing is kept.
  PartsForAnother(std::unique_ptr<PartialCell> partial, const Claim& claim, std::string first)
      : partial_(std::move(partial)), claim_(claim), first_(std::move(first)) {}
  bool has(std::size_t window) const override { return partial_->find(window_part(window)) != nullptr; }
  void add(std::size_t window, const Json& result, double seconds) override;

  /// Returns the id of the cell that has kept one of the windows' parts; empty where there is none.
  static std::string origin(const PartialCell& partial, std::size_t windows);

 private:
  std::unique_ptr<PartialCell> partial_;
  const Claim& claim_;
  std::string first_;
};

}  // namespace qroar
