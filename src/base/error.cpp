#include "base/error.h"

namespace qroar {

void check(bool condition, const char* what, std::source_location place) {
  if (!condition) {
    throw InternalError(fmt::format("{}:{}: {}", place.file_name(), place.line(), what));
  }
}

}  // namespace qroar
