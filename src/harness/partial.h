// The finished windows of a cell that is not finished: cells/<id>/partial.jsonl, removed once the cell has its row.
#pragma once
#include <chrono>
#include <map>

#include "base/line_log.h"
#include "eval/evaluate.h"

namespace qroar {

class PartialCell : public WindowStore {
 public:
  /// Goes on from a file whose windows were scored with the same `inputs` (hashes, commit, device); starts anew from
  /// any other, and with `anew` from every one.  An Error for a line that is not as it was written.
  PartialCell(const std::filesystem::path& cell, const Json& inputs, bool anew);

  const Json* find(std::size_t window) const override;
  void add(std::size_t window, const Json& sums) override;

  std::size_t found() const { return found_; }
  /// From here on time is that of scoring.
  void start_clock() { since_ = Clock::now(); }
  /// Of scoring, in all runs so far.
  double seconds() const { return seconds_; }
  static void remove(const std::filesystem::path& cell);

 private:
  using Clock = std::chrono::steady_clock;

  std::filesystem::path file_;
  std::optional<LineLog> log_;
  std::map<std::size_t, Json> windows_;
  std::size_t found_ = 0;
  double seconds_ = 0;
  Clock::time_point since_;
};

}  // namespace qroar
