// The text of the Error that a call throws, for tests of messages.
#pragma once
#include <string>

#include "base/error.h"

namespace qroar {

template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no Error was thrown";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace qroar
