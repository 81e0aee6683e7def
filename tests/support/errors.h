// error_text(call): the text of the Error that a call throws, for tests that compare messages, whole or in part.
#pragma once
#include <string>

#include "base/error.h"

namespace qroar {

/// "(no error)" when nothing is thrown; an InternalError passes through and fails the test.
template <class Call>
std::string error_text(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace qroar
