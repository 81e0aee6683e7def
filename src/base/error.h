// The two kinds of error.  An Error is caused by the user or the environment and is printed as one line; an
// InternalError is a bug in this program.
#pragma once
#include <fmt/format.h>

#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace qroar {

/// An error that the user can fix: the text says what is wrong, where, and what to do.  Exit code 1.  It may quote any
/// file, so that it is made visible() here, in one place: an Error is one line, and acts on no terminal.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string_view text);
  /// Several errors, each a line.
  explicit Error(const std::vector<std::string>& lines);
};

/// A violated assumption of this program.  Exit code 2.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Throws an Error with a formatted text.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws an InternalError that names the source location when `condition` is false; also active in release builds.
void check(bool condition, const char* what, std::source_location place = std::source_location::current());

}  // namespace qroar
