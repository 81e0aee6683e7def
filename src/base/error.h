// The two kinds of error: Error is the user's or the environment's and is printed as one line; InternalError is ours.
#pragma once
#include <fmt/format.h>

#include <source_location>
#include <stdexcept>
#include <string>

namespace qroar {

/// Something the user can mend: the text says what is wrong, where, and what to do.  Exit code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A broken assumption of this program.  Exit code 2.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Throws Error with a formatted text.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws InternalError naming the place when `condition` is false; stays on in release builds.
void check(bool condition, const char* what, std::source_location place = std::source_location::current());

}  // namespace qroar
