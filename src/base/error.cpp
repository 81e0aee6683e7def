#include "base/error.h"

#include "base/utf8.h"

namespace qroar {
namespace {

std::string visible_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + visible(line);
  return text;
}

}  // namespace

Error::Error(std::string_view text) : std::runtime_error(visible(text)) {}
Error::Error(const std::vector<std::string>& lines) : std::runtime_error(visible_lines(lines)) {}

void check(bool condition, const char* what, std::source_location place) {
  if (!condition) {
    throw InternalError(fmt::format("{}:{}: {}", place.file_name(), place.line(), what));
  }
}

}  // namespace qroar
