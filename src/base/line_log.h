// A file of JSON lines that grows while a process runs and may be killed at any moment.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"

namespace qroar {

/// Writes each line with one system call, and with a hash of its content.  What it keeps only spares time after a stop,
/// so that a disk that refuses it costs a warning and no result: nothing is written from then on.
class LineLog {
 public:
  /// Reads the existing lines.  Removes an incomplete last line, which a killed process left; leaves out, with a
  /// warning, each other line that is not as this program wrote it for the same `owner`, which counts into the hashes.
  explicit LineLog(std::filesystem::path file, std::string owner = "");

  /// Returns the intact lines that the file had when it was opened.
  const std::vector<Json>& lines() const { return lines_; }
  /// Adds the object and its "hash".
  void append(Json line);
  /// Deletes the lines that were there.
  void clear();

 private:
  void attempt(const std::function<void()>& writing);
  std::string hash_of(const Json& line) const;
  void read(const std::string& text);

  std::filesystem::path file_;
  std::string owner_;
  std::vector<Json> lines_;
  bool is_given_up_ = false;
};

}  // namespace qroar
