// A file of JSON lines that grows while a process runs and may be killed at any moment.
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qroar {

/// Writes each line with one system call.  Opening the file removes an incomplete last line that a killed process left.
class LineLog {
 public:
  /// Reads the existing lines.  Reports each complete line that is not a JSON object to `broken` ("file:line: what"),
  /// which may throw; such a line is null in lines().
  LineLog(std::filesystem::path file, const std::function<void(const std::string&)>& broken);

  /// Returns the lines that the file had when it was opened.
  const std::vector<nlohmann::ordered_json>& lines() const { return lines_; }
  /// Throws an Error when the line cannot be written.
  void append(const nlohmann::ordered_json& line);

 private:
  std::filesystem::path file_;
  std::vector<nlohmann::ordered_json> lines_;
};

}  // namespace qroar
