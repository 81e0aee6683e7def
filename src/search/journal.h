// The scores of a search so far, on disk.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/line_log.h"
#include "config/config.h"

namespace qroar {

/// Lines {..., "kind", "point", "hash"}; two processes that run the same search write the same lines, of which the
/// first counts.  A line with a wrong hash, or of another search, is ignored with a warning.
class Journal {
 public:
  explicit Journal(const std::filesystem::path& file);
  std::optional<Json> find(const std::string& kind, const std::vector<double>& point) const;
  /// Throws an Error when the line cannot be written, and Stopped when it was written and a signal requested a stop.
  void add(const std::string& kind, const std::vector<double>& point, Json entry);

 private:
  std::string search_;  ///< the name of the search's folder
  LineLog log_;
  std::map<std::string, Json> entries_;
};

}  // namespace qroar
