// Collects complaints about many cells of a sweep, so that all of them are shown at once.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace qroar {

class ErrorList {
 public:
  /// Counts a cell without a complaint.
  void count_success() { ++cells_; }
  /// Adds a cell with a complaint; the same complaint about several cells is kept once.
  void add(const std::string& what);
  bool empty() const { return complaints_.empty(); }
  /// Throws an Error with one line per complaint, where there is one; a line contains the number of its cells when it
  /// does not apply to all.
  void throw_if_any() const;

 private:
  std::vector<std::pair<std::string, int64_t>> complaints_;  ///< and the number of cells with it
  int64_t cells_ = 0;
};

}  // namespace qroar
