#include "base/json.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include "base/files.h"

namespace qroar {
namespace {

constexpr std::size_t kMostDepth = 64;
constexpr std::size_t kShownBytes = 100;
constexpr std::size_t kFewKeys = 16;  // so few are compared one by one faster than in a set

std::string shortened(std::string text) {
  if (text.size() <= kShownBytes) return text;
  std::size_t size = kShownBytes;
  while ((static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;  // do not cut within a character
  return text.substr(0, size) + "...";
}

/// Returns the library's description of a problem, without its error number, place and copy of the text.
std::string reason_of(const std::string& what) {
  if (what.find("surrogate U+D") != what.npos)
    return "an escape from \\ud800 to \\udfff alone is half of a surrogate pair and no character";
  const std::size_t dash = what.find(" - "), bracket = what.find("] ");
  const std::size_t begin = dash != what.npos ? dash + 3 : bracket != what.npos ? bracket + 2 : 0;
  return "broken JSON: " + shortened(what.substr(begin, what.find("; last read", begin) - begin));
}

/// Tells how far the library has read: its own count is out of reach while it calls the builder.
class Reading {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Reading(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  Reading& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  bool operator==(const Reading& other) const { return at_ == other.at_; }
  bool operator!=(const Reading& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

/// Builds a value from the library's events (its interface for SAX).  The library's own builder with a callback takes
/// quadratic time, and so does an ordered object that searches each new key.
class Builder {
 public:
  Builder(std::string_view text, const JsonSource& source) : text_(text), source_(source), reached_(text.data()) {}

  Reading begin() { return {text_.data(), &reached_}; }
  Reading end() { return {text_.data() + text_.size(), &reached_}; }
  Json take() { return std::move(root_); }

  /// Fails at the place that the library has reached.
  [[noreturn]] void refuse(const std::string& what) const {
    const std::string_view before = text_.substr(0, static_cast<std::size_t>(reached_ - text_.data()));
    const auto line = source_.line + std::count(before.begin(), before.end(), '\n');
    const std::size_t last = before.rfind('\n'), begin = last == before.npos ? 0 : last + 1;
    fail("{}:{}:{}: {}{}{}", source_.name, line, std::max<std::size_t>(1, before.size() - begin), what,
         source_.remedy.empty() ? "" : "; ", source_.remedy);
  }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(int64_t value) { return put(value); }
  bool number_unsigned(uint64_t value) { return put(value); }
  bool number_float(double value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    if (is_twice(open_.back(), name)) refuse("the key " + excerpt(name) + " stands twice");
    open_.back().key = std::move(name);
    return true;
  }
  bool parse_error(std::size_t, const std::string& last, const Json::exception& error) {
    if (dynamic_cast<const Json::out_of_range*>(&error) != nullptr)
      refuse(fmt::format("the number {} is beyond what double holds", shortened(last)));
    refuse(reason_of(error.what()));
  }

 private:
  struct Level {
    Json* value;
    std::string key;             ///< of the value that follows
    std::set<std::string> keys;  ///< of a large object; ordered: no choice of keys makes it slow, unlike a hash table
  };
  using Members = std::vector<Json::object_t::value_type>;

  bool is_twice(Level& level, const std::string& name) const {
    Members& members = level.value->get_ref<Json::object_t&>();
    if (members.size() < kFewKeys)
      return std::ranges::any_of(members, [&](const auto& member) { return member.first == name; });
    if (level.keys.empty()) {
      // Members are copied when their list grows, as keys are const.  That of the whole text takes no more than the
      // text.
      if (open_.size() == 1) members.reserve(std::max(members.size(), text_.size() / sizeof(Members::value_type)));
      for (const auto& [key, value] : members) level.keys.insert(key);
    }
    return !level.keys.insert(name).second;
  }

  Json* add(Json value) {
    if (open_.empty()) {
      if (!value.is_object()) refuse(fmt::format("is a JSON {}, not an object", value.type_name()));
      root_ = std::move(value);
      return &root_;
    }
    Level& level = open_.back();
    if (level.value->is_array()) return &level.value->get_ref<Json::array_t&>().emplace_back(std::move(value));
    Members& members = level.value->get_ref<Json::object_t&>();
    return &members.emplace_back(std::move(level.key), std::move(value)).second;
  }
  bool put(Json value) {
    add(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() == kMostDepth)
      refuse(fmt::format("objects and lists in each other more than {} deep", kMostDepth));
    open_.push_back({add(std::move(value)), {}, {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const JsonSource& source_;
  const char* reached_;
  Json root_;
  std::vector<Level> open_;
};

}  // namespace

Json parse_json_object(std::string_view text, const JsonSource& source) {
  Builder builder(text, source);
  Json::sax_parse(builder.begin(), builder.end(), &builder);
  return builder.take();
}

Json read_json_object(const std::filesystem::path& file, const std::string& remedy) {
  return parse_json_object(read_file(file), {file.string(), 1, remedy});
}

std::optional<Json> try_read_json_object(const std::filesystem::path& file) {
  std::error_code unreadable;
  if (!std::filesystem::exists(file, unreadable)) return std::nullopt;
  try {
    return read_json_object(file);
  } catch (const Error&) {
    return std::nullopt;
  }
}

const Json& value_at(const Json& tree, const std::string& place) {
  static const Json kNone;
  const Json::json_pointer pointer(place);
  return tree.contains(pointer) ? tree[pointer] : kNone;
}

std::string excerpt(const Json& value) {
  return shortened(value.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace));
}

}  // namespace qroar
