// The node behind a Config handle: what was written, where, and what of it was read.  Only for src/config.
#pragma once
#include <fmt/format.h>

#include <map>
#include <optional>

#include "config/config.h"

namespace qroar::detail {

/// The name of the command line's values.
inline constexpr const char* kOverride = "--set";

/// A file of YAML text, or its substitute in errors (kOverride).
struct Source {
  std::string name;
  std::filesystem::path folder;
};

struct Mark {
  std::shared_ptr<const Source> source;
  int line = 1;
  int column = 1;

  std::string text() const { return fmt::format("{}:{}:{}", source->name, line, column); }
};

struct ConfigNode {
  using Pointer = std::shared_ptr<ConfigNode>;
  struct Child {
    std::string key;  ///< empty in a list
    Pointer node;
  };
  struct Reading {
    bool done = false;                         ///< this node was read
    bool names = false;                        ///< it was read by read_name() alone
    std::optional<Json> value;                 ///< a scalar in the type it was read as
    std::vector<std::string> asked;            ///< requested keys, present or not
    std::map<std::string, Json> defaults;      ///< used for absent keys
    std::map<std::string, Pointer> stand_ins;  ///< replacements for absent children
  };

  Config::Kind kind = Config::Kind::null;
  std::string text;             ///< of a scalar
  bool quoted = false;          ///< "4" in quotes is text, never a number
  std::vector<Child> children;  ///< in the order of writing
  Mark mark;                    ///< of the value
  Mark key_mark;                ///< of its key; of the value itself in a list
  std::string path;
  Reading reading;

  static const Pointer& of(const Config& config) { return config.node_; }
  static Config handle(Pointer node) { return Config(std::move(node)); }

  /// Returns the child under a key, or null.
  Pointer find(std::string_view key) const;
  /// Returns a description for errors: "a list", "'abc'", "nothing".
  std::string describe() const;
};

/// Returns "a, b, c".
std::string comma_list(const std::vector<std::string>& words);
/// Returns a text for a message: 'text', or the beginning of a long one.
std::string named(const std::string& text);
/// Joins "windows" and "length" to "windows.length".
std::string join(const std::string& parent, std::string_view key);
/// Returns an independent copy that is not marked as read.
ConfigNode::Pointer clone(const ConfigNode& node);
/// The size of a tree: aliases of aliases, includes of includes and points of a sweep grow exponentially.
struct Extent {
  std::size_t nodes = 1;
  std::size_t depth = 1;
  std::size_t bytes = sizeof(ConfigNode);  ///< with its texts and paths
};
Extent extent(const ConfigNode& node);

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxNodes = 100'000;
constexpr std::size_t kMaxBytes = std::size_t{256} << 20;

/// Sets the paths of all nodes of a tree.  Throws an Error where they make it larger than kMaxBytes.
void set_paths(ConfigNode& node, const std::string& path);
/// Returns the keys of a path such as "quant[0].weight.bits": quant, 0, weight, bits.  Throws an Error at `place` when
/// it is not a path.
std::vector<std::string> split_path(std::string_view path, const Mark& place);
/// Returns what was written, whether read or not.
Json written(const ConfigNode& node);
/// Parses any YAML text into a tree with paths; `start` is where the text begins.
ConfigNode::Pointer parse_yaml(const std::string& text, const Mark& start);

}  // namespace qroar::detail
