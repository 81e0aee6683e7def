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
  std::string lines;
  for (const auto& [what, count] : complaints_) {
    lines += (lines.empty() ? "" : "\n") + what;
    if (count < cells_) lines += fmt::format(" ({} of {} cells)", count, cells_);
  }
  throw Error(lines);
}

}  // namespace qroar
