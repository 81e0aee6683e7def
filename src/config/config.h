// The user's YAML as a tree whose nodes know file, line and column, and which records what was read.
// Rule: nothing the user wrote is ignored silently, so every constructor reads its own keys and check_all_read() ends
// the parse.  parse.cpp parses the YAML text and is the only file that uses yaml-cpp's parser; sweep.h expands sweeps.
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace qroar {

namespace detail {
struct ConfigNode;
}

/// The inclusive bounds of a number; the error message names them.
template <class T>
struct Range {
  T low = std::numeric_limits<T>::lowest();
  T high = std::numeric_limits<T>::max();
};

/// A cheap handle to one node of a shared tree.  Errors read "file:line:column: path.to.key: what is wrong; what to
/// do".
class Config {
 public:
  enum class Kind { null, scalar, list, map };

  /// Reads `file` with its includes (merged by key; later ones win), then applies `key=value` overrides, whose values
  /// are YAML.
  static Config load(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});
  /// Parses YAML text; `name` stands for the file in errors.
  static Config parse(const std::string& text, const std::string& name);

  Kind kind() const;
  std::string path() const;   ///< "quant[0].weight.bits"; empty at the root
  std::string where() const;  ///< "experiments/a.yaml:12:5"
  /// Returns the folder of the file that contains this value; empty for overrides and parsed text.
  std::filesystem::path folder() const;

  /// Returns whether the key is present.  Does not count as reading it, but makes it a candidate for "did you mean".
  bool has(std::string_view key) const;
  /// Returns the child.  Throws an Error that names the key when it is missing.
  Config at(std::string_view key) const;
  /// Returns the child, or `fallback` (YAML) when the key is absent; the fallback then appears in resolved().
  Config at(std::string_view key, const std::string& fallback) const;
  /// Returns the child map, or an empty one.
  Config section(std::string_view key) const;
  /// Returns the elements of a list.
  std::vector<Config> items() const;
  /// Returns the elements of an optional list; an absent one counts as [].
  std::vector<Config> items(std::string_view key) const { return at(key, "[]").items(); }

  /// Returns this scalar (or list of scalars) as T: bool, int64_t, double, std::string and vectors of them.  The
  /// complete text must convert ("010" is 10, "yes" is not a bool); otherwise throws an Error that says what was
  /// expected.
  template <class T>
  T as() const;
  /// Returns this scalar as a path.  A relative path starts at the working directory if it exists there, else at
  /// folder().
  std::filesystem::path as_path() const;
  /// Like as_path(), but throws an Error when the path does not exist.
  std::filesystem::path as_file() const;
  /// Returns the value of a required key.
  template <class T>
  T get(std::string_view key) const {
    return at(key).as<T>();
  }
  /// Returns the value of an optional key; the fallback is recorded, so that resolved() shows it.
  template <class T>
  T get(std::string_view key, const T& fallback) const {
    if (!has(key)) {
      note_default(key, Json(fallback));
      return fallback;
    }
    return at(key).as<T>();
  }
  /// Returns an optional number.  Throws an Error when it is out of bounds.
  template <class T>
  T get(std::string_view key, const T& fallback, Range<T> range) const {
    const T value = get<T>(key, fallback);
    if (!(value >= range.low && value <= range.high)) {
      at(key).fail_range(Json(value), Json(range.low), Json(range.high));
    }
    return value;
  }
  /// Returns an optional word of a fixed set.  The Error for any other word lists the set and the nearest word.
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

  /// Reads an optional `name` of this map, a short name for tables and figures; one that was read as a value is none.
  /// It is no part of resolved(), and so changes no cell's id.
  void read_name() const;

  /// Returns what was written, whether read or not (keys in the order of writing).
  Json json() const;
  /// Returns the values that were read and the defaults that were used, keys sorted; the cell id is the hash of this.
  Json resolved() const;

  /// Throws an Error at this place: "where: path: message".
  [[noreturn]] void fail(const std::string& message) const;

  /// Returns an independent tree with `value` at a dotted path ("windows.length"), creating maps as needed; used by
  /// --set and sweeps.
  Config with(std::string_view dotted_path, const Config& value) const;
  /// Returns this value as a map {key: value} with the same place, to expand a short form such as `perplexity`.
  Config as_map_of(const std::string& key) const;
  /// Returns an independent tree without a top-level key.
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

/// The files on disk that an experiment consists of.
struct ConfigSources {
  std::vector<std::filesystem::path> files;   ///< its own file, and those that it includes
  std::vector<std::filesystem::path> beside;  ///< files it names by paths relative to a file's folder
};
ConfigSources sources_of(const std::filesystem::path& file);

/// Returns block-style YAML of a JSON value; it reads back as the same configuration.
std::string to_yaml(const Json& value);

/// Throws an Error for the first key, in file order, that was not read, with a "did you mean" from the keys that were
/// requested at that level.
void check_all_read(const Config& root);

/// Returns the candidate nearest to `word` by edit distance, or empty when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace qroar
