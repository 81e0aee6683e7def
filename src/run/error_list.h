// Complaints about many cells of a sweep, so that one look shows them all.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace qroar {

class ErrorList {
 public:
  /// A cell without a complaint.
  void add_good() { ++cells_; }
  /// A cell with one; the same one of several cells is kept once.
  void add(const std::string& what);
  bool empty() const { return complaints_.empty(); }
  /// Throws an Error of one line a complaint, where there is one; a line says how many cells it is about, where others
  /// are not.
  void throw_if_any() const;

 private:
  std::vector<std::pair<std::string, int64_t>> complaints_;  ///< and how many cells have it
  int64_t cells_ = 0;
};

}  // namespace qroar
