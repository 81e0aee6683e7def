#include "model/config_fields.h"

#include <cmath>

#include "base/error.h"

namespace qroar {

ConfigFields ConfigFields::parse(const std::string& bytes, const std::filesystem::path& file) {
  return {file.string(), parse_json_object(bytes, {file.string()})};
}

bool ConfigFields::has(const std::string& name) const { return object_.contains(name) && !object_[name].is_null(); }

int64_t ConfigFields::integer(const std::string& name, std::optional<int64_t> fallback, int64_t low,
                              int64_t high) const {
  const std::string expected = fmt::format("an integer from {} to {}", low, high);
  if (!has(name)) {
    if (!fallback) missing(name, expected);
    return *fallback;
  }
  const Json& value = object_[name];
  if (value.is_number_float()) {
    const double number = value.get<double>();
    const bool fits = number == std::floor(number) && number >= static_cast<double>(low) &&
                      number <= static_cast<double>(high) && std::abs(number) <= 0x1p53;
    if (!fits) wrong(name, expected);
    return static_cast<int64_t>(number);
  }
  const bool fits = value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(high)
                                               : value.is_number_integer() && value.get<int64_t>() <= high;
  if (!fits || value.get<int64_t>() < low) wrong(name, expected);
  return value.get<int64_t>();
}

std::vector<int64_t> ConfigFields::integers(const std::string& name) const {
  if (!has(name)) return {};
  const Json list = object_[name].is_array() ? object_[name] : Json::array({object_[name]});
  std::vector<int64_t> values;
  for (const Json& value : list) {
    if (!value.is_number_integer()) wrong(name, "an integer or a list of integers");
    values.push_back(value);
  }
  return values;
}

double ConfigFields::number(const std::string& name, double fallback, double low, double high) const {
  if (!has(name)) return fallback;
  const Json& value = object_[name];
  if (!value.is_number() || !(value.get<double>() > low && value.get<double>() <= high)) {
    wrong(name, fmt::format("a number above {} and up to {}", low, high));
  }
  return value.get<double>();
}

bool ConfigFields::boolean(const std::string& name, bool fallback) const {
  if (!has(name)) return fallback;
  if (!object_[name].is_boolean()) wrong(name, "true or false");
  return object_[name].get<bool>();
}

std::string ConfigFields::text(const std::string& name) const {
  if (!has(name)) return "";
  if (!object_[name].is_string()) wrong(name, "a text");
  return object_[name].get<std::string>();
}

void ConfigFields::require_text(const std::string& name, const std::string& supported) const {
  const std::string expected = fmt::format("\"{}\", the only one supported", supported);
  if (!has(name)) missing(name, expected);
  if (object_[name] != Json(supported)) wrong(name, expected);
}

ConfigFields ConfigFields::object(const std::string& name) const {
  if (!has(name)) return {place_, Json::object()};
  if (!object_[name].is_object()) wrong(name, "an object");
  return {place_ + ": " + name, object_[name]};
}

void ConfigFields::wrong(const std::string& name, const std::string& expected) const {
  fail("{}: field '{}' is {}; expected {}", place_, name, object_[name].dump().substr(0, 60), expected);
}

void ConfigFields::missing(const std::string& name, const std::string& expected) const {
  fail("{}: missing field '{}'; expected {}", place_, name, expected);
}

void ConfigFields::complain(const std::string& what) const { fail("{}: {}", place_, what); }

}  // namespace qroar
