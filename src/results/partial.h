// The finished parts of an unfinished cell: cells/<id>/partial.jsonl, removed once the cell has its row.
#pragma once
#include <chrono>
#include <functional>
#include <map>

#include "base/line_log.h"
#include "eval/parts.h"

namespace qroar {

class PartialCell : public PartStore {
 public:
  /// Continues a file whose parts were made with the same `inputs` (hashes, everything that decides the bits); starts
  /// again from any other file, and with `restart` from every file.  Each part names the inputs, too: a process that
  /// wakes after another has taken its cell over may still add a line to a file that is no longer its own.  `check`
  /// throws when results computed now must not be kept.
  PartialCell(const std::filesystem::path& cell, const Json& inputs, bool restart, std::function<void()> check);

  const Json* find(const std::string& part) const override;
  void add(const std::string& part, const Json& result) override;
  void add(const std::string& part, const Json& result, double seconds) override;

  std::size_t found() const { return found_; }
  /// Starts the clock that measures the time of the parts that are added.
  void start_clock() { since_ = Clock::now(); }
  /// Returns the time that parts whose names begin with `kind` took, in all runs so far.
  double seconds(const std::string& kind) const;
  static void remove(const std::filesystem::path& cell);

 private:
  using Clock = std::chrono::steady_clock;
  struct Part {
    Json result;
    double seconds;
  };

  std::function<void()> check_;
  LineLog log_;
  std::string inputs_hash_;
  std::map<std::string, Part> parts_;
  std::size_t found_ = 0;
  Clock::time_point since_;
};

}  // namespace qroar
