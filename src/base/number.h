// Parsing numbers.
#pragma once
#include <charconv>
#include <string_view>
#include <system_error>

namespace qroar {

/// Reads all of `text` as a number into `value`, as std::from_chars does: no white space, no +, no locale.  Returns no
/// error, invalid_argument (also where text follows the number) or result_out_of_range.
template <class T>
std::errc read_number(std::string_view text, T& value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return stop == end ? error : std::errc::invalid_argument;
}

}  // namespace qroar
