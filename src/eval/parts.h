// Finished parts of a cell, so that one that was cut off goes on where it stopped.
#pragma once
#include <string>

#include "config/config.h"

namespace qroar {

class PartStore {
 public:
  virtual ~PartStore() = default;
  /// What the part ("window/12", "task/hellaswag/7") came to; null where it is not finished.
  virtual const Json* find(const std::string& part) const = 0;
  virtual void add(const std::string& part, const Json& result) = 0;
};

}  // namespace qroar
