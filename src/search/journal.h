// What a search has scored so far, on disk.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/line_log.h"
#include "config/config.h"

namespace qroar {

/// Lines {..., "kind", "point", "hash"}; two processes that search the same thing write the same lines, of which the
/// first counts.  A line whose hash is wrong, or that is another search's, is left out with a warning.
class Journal {
 public:
  explicit Journal(const std::filesystem::path& file);
  std::optional<Json> find(const std::string& kind, const std::vector<double>& point) const;
  /// Throws an Error when the line cannot be written, and Stopped when it is and a signal asked for it.
  void add(const std::string& kind, const std::vector<double>& point, Json entry);

 private:
  std::string search_;  ///< the name of its folder
  LineLog log_;
  std::map<std::string, Json> entries_;
};

}  // namespace qroar
