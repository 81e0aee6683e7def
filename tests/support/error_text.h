// The text of the Error that an action ends in; empty when it ends in none.
#pragma once
#include <string>

#include "base/error.h"

namespace qroar {

template <class Action>
std::string error_text(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace qroar
