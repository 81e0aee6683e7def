// What the fuzz targets share.  A target is a file fuzz_NAME.cpp that defines fuzz_one(): it feeds the input to a
// reader or a pure function and checks what must be true of the outcome.  driver.cpp calls it.
#pragma once
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "config/config.h"
#include "support/scratch.h"

namespace qroar {

/// Defined by each target.  An Error is a refused input, provided that its message is one line; every other exception
/// is a finding.
void fuzz_one(std::string_view input);

/// Ends the process where `condition` is false, as a finding; `found` says what was wrong.
void must(bool condition, const std::string& found, std::source_location place = std::source_location::current());

/// Must be one line, which the user reads; what() of a caught Error, the text of a warning.
void must_be_one_line(const std::string& message);

/// Returns whether `action` is refused with an Error, whose message must be one line.
template <class Action>
bool refuses(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    must_be_one_line(error.what());
    return true;
  }
  return false;
}

/// The folder of this process for the files that readers read; removed at the end.
const Scratch& scratch();

/// Returns the texts of an input that holds several: `count` of them, cut at the byte 0x01.  The last one gets all of
/// the rest, and those that are missing are empty.
std::vector<std::string> parts_of(std::string_view input, std::size_t count);

/// Returns the block of YAML as a Config, as readers of blocks take it.
inline Config block_of(const std::string& yaml) { return Config::parse(yaml, "input.yaml"); }

}  // namespace qroar
