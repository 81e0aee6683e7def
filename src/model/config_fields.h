// Checked access to the fields of a config.json; every Error names the file and the field.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

namespace qroar {

/// One JSON object of the file.  null counts as absent, as in Hugging Face.
class ConfigFields {
 public:
  ConfigFields(std::string place, Json object) : place_(std::move(place)), object_(std::move(object)) {}
  /// Parses the bytes of a file, which must contain one JSON object.
  static ConfigFields parse(const std::string& bytes, const std::filesystem::path& file);

  /// Returns another object in the same place.
  ConfigFields with(Json object) const { return {place_, std::move(object)}; }

  bool has(const std::string& name) const;
  const Json& json() const { return object_; }

  /// Returns an integer, which may be written as a float such as 4096.0.  Throws an Error where it is missing and there
  /// is no `fallback`.
  int64_t integer(const std::string& name, std::optional<int64_t> fallback, int64_t low, int64_t high) const;
  /// Returns one integer or a list of them, none when absent.
  std::vector<int64_t> integers(const std::string& name) const;
  /// Returns a number above `low` and up to `high`.
  double number(const std::string& name, double fallback, double low, double high) const;
  bool boolean(const std::string& name, bool fallback) const;
  /// Returns a text, empty when absent.
  std::string text(const std::string& name) const;
  void require_text(const std::string& name, const std::string& supported) const;
  /// Returns the object under `name`, empty when absent.
  ConfigFields object(const std::string& name) const;

  [[noreturn]] void wrong(const std::string& name, const std::string& expected) const;
  [[noreturn]] void missing(const std::string& name, const std::string& expected) const;
  [[noreturn]] void complain(const std::string& what) const;

 private:
  std::string place_;
  Json object_;
};

}  // namespace qroar
