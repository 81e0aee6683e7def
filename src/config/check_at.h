// Adds the place of a YAML value to errors from code that does not know about YAML.
#pragma once
#include "base/error.h"
#include "config/config.h"

namespace qroar {

/// Calls `check_value` and rethrows its Error with the place of the value.
template <class Check>
void check_at(const Config& place, const Check& check_value) {
  try {
    check_value();
  } catch (const Error& error) {
    place.fail(error.what());
  }
}

}  // namespace qroar
