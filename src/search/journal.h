// The scores of a search so far, on disk.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/line_log.h"
#include "config/config.h"

namespace qroar {

/// Lines {..., "kind", "point"}; two processes that run the same search write the same lines, of which the first
/// counts. The hashes of lines hold the search, so that another's lines are left out.
class Journal {
 public:
  /// `check` is called before a line is written and throws where what was computed until now must not be kept.
  explicit Journal(
      const std::filesystem::path& file, std::function<void()> check = [] {});
  std::optional<Json> find(const std::string& kind, const std::vector<double>& point) const;
  /// Throws Stopped when the line was written and a signal requested a stop.
  void add(const std::string& kind, const std::vector<double>& point, Json entry);

 private:
  std::function<void()> check_;
  LineLog log_;
  std::map<std::string, Json> entries_;
};

}  // namespace qroar
