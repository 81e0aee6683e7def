// The finished parts of a cell that is not finished: cells/<id>/partial.jsonl, removed once the cell has its row.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <optional>

#include "base/line_log.h"
#include "eval/parts.h"

namespace qroar {

class PartialCell : public PartStore {
 public:
  /// Goes on from a file whose parts were made with the same `inputs` (hashes, what decides the bits); starts again
  /// from any other, and with `restart` from every one.  An Error for a line that is not as it was written.  `check`
  /// throws where what is computed now may not be kept.
  PartialCell(const std::filesystem::path& cell, const Json& inputs, bool restart, std::function<void()> check);

  const Json* find(const std::string& part) const override;
  void add(const std::string& part, const Json& result) override;

  std::size_t found() const { return found_; }
  /// From here on time is that of the parts that are added.
  void start_clock() { since_ = Clock::now(); }
  /// That parts whose names begin so took, in all runs so far.
  double seconds(const std::string& kind) const;
  static void remove(const std::filesystem::path& cell);

 private:
  using Clock = std::chrono::steady_clock;
  struct Part {
    Json result;
    double seconds;
  };

  std::filesystem::path file_;
  std::function<void()> check_;
  std::optional<LineLog> log_;
  std::map<std::string, Part> parts_;
  std::size_t found_ = 0;
  Clock::time_point since_;
};

}  // namespace qroar
