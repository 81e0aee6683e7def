// Errors of code that knows no YAML, given the place of the value that they are about.
#pragma once
#include "base/error.h"
#include "config/config.h"

namespace qroar {

/// Calls `check_value`; what it throws as an Error is thrown again at `place`.
template <class Check>
void check_at(const Config& place, const Check& check_value) {
  try {
    check_value();
  } catch (const Error& error) {
    place.fail(error.what());
  }
}

}  // namespace qroar
