#include "run/error_list.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {

void ErrorList::add(const std::string& what) {
  ++cells_;
  const auto known = std::ranges::find(complaints_, what, &std::pair<std::string, int64_t>::first);
  if (known == complaints_.end())
    complaints_.emplace_back(what, 1);
  else
    ++known->second;
}

void ErrorList::throw_if_any() const {
  if (empty()) return;
  std::vector<std::string> lines;
  for (const auto& [what, count] : complaints_)
    lines.push_back(count < cells_ ? fmt::format("{} ({} of {} cells)", what, count, cells_) : what);
  throw Error(lines);
}

}  // namespace qroar
