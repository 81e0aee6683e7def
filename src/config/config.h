// The user's YAML as a tree whose nodes know file, line and column, and which remembers what was read.
// Rule: nothing the user wrote is ignored silently, so every constructor reads its own keys and check_all_read() ends
// the parse. Parsing YAML text is parse.cpp's business (the only file that includes yaml-cpp); products of sweeps are
// sweep.h's.
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qroar {

using Json = nlohmann::ordered_json;

namespace detail {
struct ConfigNode;
}

/// Inclusive bounds of a number; the error names them.
template <class T>
struct Range {
  T low = std::numeric_limits<T>::lowest();
  T high = std::numeric_limits<T>::max();
};

/// A cheap handle on one node of a shared tree.  Errors read "file:line:column: path.to.key: what is wrong; what to
/// do".
class Config {
 public:
  enum class Kind { null, scalar, list, map };

  /// Reads `file` with its includes (merged by key, later wins), then applies `key=value` overrides (value is YAML).
  static Config load(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});
  /// Parses YAML text; `name` stands for the file in errors.
  static Config parse(const std::string& text, const std::string& name);

  Kind kind() const;
  std::string path() const;   ///< "quant[0].weight.bits"; empty at the root
  std::string where() const;  ///< "experiments/a.yaml:12:5"
  /// Folder of the file this value was written in; empty for overrides and parsed text.
  std::filesystem::path folder() const;

  /// Is the key there?  Does not count as reading it, but makes it a candidate for "did you mean".
  bool has(std::string_view key) const;
  /// The child; an Error naming the key when it is missing.
  Config at(std::string_view key) const;
  /// The child, or `fallback` (YAML) when the key is absent, which then lands in resolved().
  Config at(std::string_view key, const std::string& fallback) const;
  /// The child map, or an empty one.
  Config section(std::string_view key) const;
  /// The elements of a list.
  std::vector<Config> items() const;
  /// The elements of an optional list; an absent one counts as [].
  std::vector<Config> items(std::string_view key) const { return at(key, "[]").items(); }

  /// This scalar (or list of scalars) as T: bool, int64_t, double, std::string and vectors of them.  The whole
  /// text must convert ("010" is 10, "yes" is no bool); else an Error says what was expected.
  template <class T>
  T as() const;
  /// This scalar as a path: a relative one counts from the working directory when something is there, else from
  /// folder().
  std::filesystem::path as_path() const;
  /// As as_path(); an Error when nothing is there.
  std::filesystem::path as_file() const;
  /// A required key.
  template <class T>
  T get(std::string_view key) const {
    return at(key).as<T>();
  }
  /// An optional key; the fallback is noted, so that resolved() shows it.
  template <class T>
  T get(std::string_view key, const T& fallback) const {
    if (!has(key)) {
      note_default(key, Json(fallback));
      return fallback;
    }
    return at(key).as<T>();
  }
  /// An optional number with bounds.
  template <class T>
  T get(std::string_view key, const T& fallback, Range<T> range) const {
    const T value = get<T>(key, fallback);
    if (!(value >= range.low && value <= range.high)) {
      at(key).fail_range(Json(value), Json(range.low), Json(range.high));
    }
    return value;
  }
  /// An optional word out of a fixed set; the Error lists the set and the nearest word.
  template <class E>
  E get_choice(std::string_view key, E fallback, const std::vector<std::pair<std::string, E>>& choices) const {
    std::vector<std::string> names;
    std::string fallback_name;
    for (const auto& [name, value] : choices) {
      names.push_back(name);
      if (value == fallback) fallback_name = name;
    }
    return choices[choice_index(key, fallback_name, names)].second;
  }

  /// What was written, whether read or not (keys in the order of writing).
  Json json() const;
  /// What counts: the values that were read and the defaults that were taken, keys sorted; the cell id is its hash.
  Json resolved() const;

  /// Throws an Error at this place: "where: path: message".
  [[noreturn]] void fail(const std::string& message) const;

  /// An independent tree with `value` put at a dotted path ("windows.length"), making maps as needed; used by --set and
  /// sweeps.
  Config with(std::string_view dotted_path, const Config& value) const;
  /// This value as a map {key: value}, at the same place: what a short form such as `perplexity` stands for.
  Config as_map_of(const std::string& key) const;
  /// An independent tree without a top-level key.
  Config without(std::string_view key) const;

 private:
  friend struct detail::ConfigNode;
  explicit Config(std::shared_ptr<detail::ConfigNode> node) : node_(std::move(node)) {}
  void note_default(std::string_view key, Json value) const;
  std::size_t choice_index(std::string_view key, const std::string& fallback,
                           const std::vector<std::string>& names) const;
  [[noreturn]] void fail_range(const Json& value, const Json& low, const Json& high) const;

  std::shared_ptr<detail::ConfigNode> node_;
};

/// What an experiment is made of on disk.
struct ConfigSources {
  std::vector<std::filesystem::path> files;   ///< its own, and those that it includes
  std::vector<std::filesystem::path> beside;  ///< what paths in it lead to that count from a file's folder
};
ConfigSources sources_of(const std::filesystem::path& file);

/// Block-style YAML of a JSON value; reads back as the same configuration.
std::string to_yaml(const Json& value);

/// An Error for the first key, in file order, that nobody read, with "did you mean" among the keys that were asked for
/// at that level.
void check_all_read(const Config& root);

/// The candidate nearest to `word` by edit distance, or empty when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace qroar
