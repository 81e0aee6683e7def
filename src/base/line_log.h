// A file of JSON lines that grows while a process runs and may be killed at any moment.
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qroar {

/// Each line is written with one call.  What a killed process left of its last line is cut off when the file is opened.
class LineLog {
 public:
  /// Reads what is there.  A whole line that is no JSON object is told to `broken` ("file:line: what"), which may
  /// throw, and is null in lines().
  LineLog(std::filesystem::path file, const std::function<void(const std::string&)>& broken);

  /// What was there when the file was opened.
  const std::vector<nlohmann::ordered_json>& lines() const { return lines_; }
  /// Throws an Error when the line cannot be written.
  void append(const nlohmann::ordered_json& line);

 private:
  std::filesystem::path file_;
  std::vector<nlohmann::ordered_json> lines_;
};

}  // namespace qroar
