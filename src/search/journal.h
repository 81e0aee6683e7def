// What a search has scored so far, on disk.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

namespace qroar {

/// A file of JSON lines, {"kind", "point", ...}, each written with one call.  What a killed process left of its last
/// line is cut off; two processes that search the same thing write the same lines, of which the first counts.
class Journal {
 public:
  explicit Journal(const std::filesystem::path& file);
  std::optional<Json> find(const std::string& kind, const std::vector<double>& point) const;
  /// Throws an Error when the line cannot be written.
  void add(const std::string& kind, const std::vector<double>& point, Json entry);

 private:
  std::filesystem::path file_;
  std::map<std::string, Json> entries_;
};

}  // namespace qroar
