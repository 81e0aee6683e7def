// Finished parts of a cell, which let an interrupted cell continue where it stopped.
#pragma once
#include <string>

#include "config/config.h"

namespace qroar {

class PartStore {
 public:
  virtual ~PartStore() = default;
  /// Returns the result of the part ("window/12", "task/hellaswag/7"); null where it is not finished.
  virtual const Json* find(const std::string& part) const = 0;
  virtual void add(const std::string& part, const Json& result) = 0;
};

}  // namespace qroar
