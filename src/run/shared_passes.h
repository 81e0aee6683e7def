// Cells whose windows go through the model in the same passes: a window that is the beginning of a longer one of
// another cell, with the same angles (the same model under a RoPE table that does not depend on the length).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "eval/evaluate.h"
#include "results/partial.h"
#include "run/cell.h"

namespace qroar {

/// Returns whether the cells evaluate the same model and reference on the same texts, as far as this is known before
/// the model is built.  Cells that search scales have models of their own.
bool may_share_passes(const Cell& one, const Cell& other);

/// Counts what the windows of cells take in the order in which they run.
class PassCount {
 public:
  /// Returns the floating point operations of Cell::flops() less those of windows that an earlier cell's begin with.
  double flops(const Cell& cell);

 private:
  std::vector<const Cell*> before_;
};

/// Keeps in a cell's `partial` what another cell, which runs first, has scored for it.
class PartsForAnother : public WindowStore {
 public:
  /// `first`: the cell that runs, and its own parts.
  PartsForAnother(const Cell& cell, std::unique_ptr<PartialCell> partial, const Cell& first,
                  const PartialCell& first_partial)
      : cell_(cell), partial_(std::move(partial)), first_(first), first_partial_(first_partial) {}
  bool has(std::size_t window) const override { return partial_->find(window_part(window)) != nullptr; }
  /// Counts the share of the whole window's time that the cell's window has in its operations.
  void add(std::size_t window, const Json& result, std::size_t whole) override;

  /// Returns the id of the cell that has kept one of the windows' parts; empty where there is none.
  static std::string origin(const PartialCell& partial, std::size_t windows);

 private:
  const Cell& cell_;
  std::unique_ptr<PartialCell> partial_;
  const Cell& first_;
  const PartialCell& first_partial_;
};

}  // namespace qroar
