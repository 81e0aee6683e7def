// Finished parts of a cell, which let an interrupted cell continue where it stopped.
#pragma once
#include <map>
#include <string>

#include "config/config.h"

namespace qroar {

class PartStore {
 public:
  virtual ~PartStore() = default;
  /// Returns the result of the part ("window/12", "task/hellaswag/7"); null where it is not finished.
  virtual const Json* find(const std::string& part) const = 0;
  /// Adds the result of a part that took the time since the last one, or `seconds`.
  virtual void add(const std::string& part, const Json& result) = 0;
  virtual void add(const std::string& part, const Json& result, double seconds) = 0;
};

/// Keeps them in memory.
class KeptParts : public PartStore {
 public:
  const Json* find(const std::string& part) const override {
    const auto found = parts_.find(part);
    return found == parts_.end() ? nullptr : &found->second;
  }
  void add(const std::string& part, const Json& result) override { parts_.emplace(part, result); }
  void add(const std::string& part, const Json& result, double) override { add(part, result); }

 private:
  std::map<std::string, Json> parts_;
};

}  // namespace qroar
