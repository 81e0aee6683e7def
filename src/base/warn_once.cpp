#include "base/warn_once.h"

#include <spdlog/spdlog.h>

#include <mutex>
#include <set>

namespace qroar {

void warn_once(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> told;
  const std::lock_guard lock(mutex);
  if (told.insert(text).second) spdlog::warn("{}", text);
}

}  // namespace qroar
