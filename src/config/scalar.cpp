// Converts text to values.  The complete text must convert: yaml-cpp would read 010 as octal and yes as a bool.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/number.h"
#include "config/node.h"

namespace qroar {

using detail::ConfigNode;

namespace {

template <class T>
constexpr bool kIsVector = false;
template <class T>
constexpr bool kIsVector<std::vector<T>> = true;

template <class T>
constexpr const char* kExpected = "a text";
template <>
constexpr const char* kExpected<bool> = "true or false";
template <>
constexpr const char* kExpected<int64_t> = "an integer";
template <>
constexpr const char* kExpected<double> = "a number";

/// Reads a finite number into `value`; NaN and infinity are errors.
template <class T>
std::errc read_finite(std::string_view text, T& value) {
  const std::errc error = read_number(text, value);
  if constexpr (std::is_floating_point_v<T>) {
    if (error == std::errc() && !std::isfinite(value)) return std::errc::invalid_argument;
  }
  return error;
}

std::errc read_scalar(const ConfigNode& node, std::string& value) {
  value = node.text;
  return {};
}

std::errc read_scalar(const ConfigNode& node, bool& value) {
  value = node.text == "true";
  return !node.quoted && (value || node.text == "false") ? std::errc() : std::errc::invalid_argument;
}

template <class T>
std::errc read_scalar(const ConfigNode& node, T& value) {
  return node.quoted ? std::errc::invalid_argument : read_finite(node.text, value);
}

}  // namespace

template <class T>
T Config::as() const {
  T value{};
  if constexpr (kIsVector<T>) {
    for (const Config& item : items()) value.push_back(item.as<typename T::value_type>());
  } else {
    const std::errc error = kind() == Kind::scalar ? read_scalar(*node_, value) : std::errc::invalid_argument;
    if (error == std::errc::result_out_of_range) fail(node_->describe() + " is beyond the range of 64 bits");
    if (error != std::errc()) fail(fmt::format("expected {}, found {}", kExpected<T>, node_->describe()));
    // For "auto" or a number: a value that is first read as text and then as a number counts as a number.
    auto& noted = node_->reading.value;
    if (!std::is_same_v<T, std::string> || !noted) noted = value;
  }
  return value;
}

template bool Config::as() const;
template int64_t Config::as() const;
template double Config::as() const;
template std::string Config::as() const;
template std::vector<bool> Config::as() const;
template std::vector<int64_t> Config::as() const;
template std::vector<double> Config::as() const;
template std::vector<std::string> Config::as() const;

std::filesystem::path Config::as_path() const {
  const std::filesystem::path path = as<std::string>();
  if (path.empty()) fail("expected a path, found an empty text");
  std::error_code ignored;  // counts as absent when it cannot be examined; opening it reports why
  return std::filesystem::exists(path, ignored) ? path : folder() / path;
}

std::filesystem::path Config::as_file() const {
  std::filesystem::path path = as_path();
  if (std::error_code unreadable; !std::filesystem::exists(path, unreadable)) fail(path.string() + ": no such file");
  return path;
}

std::size_t Config::choice_index(std::string_view key, const std::string& fallback,
                                 const std::vector<std::string>& names) const {
  std::string word = fallback;
  if (has(key)) {
    word = at(key).as<std::string>();
  } else if (fallback.empty()) {
    qroar::fail("{}: {}: missing; known: {}", where(), detail::join(path(), key), detail::comma_list(names));
  } else {
    note_default(key, fallback);
  }
  const auto found = std::ranges::find(names, word);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  const std::string near = nearest(word, names);
  at(key).fail(fmt::format("unknown {}; {}known: {}", detail::named(word),
                           near.empty() ? "" : fmt::format("did you mean '{}'? ", near), detail::comma_list(names)));
}

void Config::fail_range(const Json& value, const Json& low, const Json& high) const {
  const auto is_any = [](const Json& bound, auto int_limit, auto double_limit) {
    return bound.is_number_integer() ? bound == Json(int_limit) : bound == Json(double_limit);
  };
  using Int = std::numeric_limits<int64_t>;
  using Double = std::numeric_limits<double>;
  std::string bounds = fmt::format("from {} to {}", low.dump(), high.dump());
  if (is_any(low, Int::lowest(), Double::lowest())) bounds = "of at most " + high.dump();
  if (is_any(high, Int::max(), Double::max())) bounds = "of at least " + low.dump();
  fail(fmt::format("expected a number {}, found {}", bounds, value.dump()));
}

Json Config::json() const { return detail::written(*node_); }

}  // namespace qroar

namespace qroar::detail {

Json written(const ConfigNode& node) {
  switch (node.kind) {
    case Config::Kind::null: return nullptr;
    case Config::Kind::list: {
      Json list = Json::array();
      for (const auto& child : node.children) list.push_back(written(*child.node));
      return list;
    }
    case Config::Kind::map: {
      Json map = Json::object();
      for (const auto& child : node.children) map[child.key] = written(*child.node);
      return map;
    }
    case Config::Kind::scalar: break;
  }
  bool flag = false;
  int64_t integer = 0;
  double number = 0;
  if (read_scalar(node, flag) == std::errc()) return flag;
  if (read_scalar(node, integer) == std::errc()) return integer;
  if (read_scalar(node, number) == std::errc()) return number;
  return node.text;
}

}  // namespace qroar::detail
