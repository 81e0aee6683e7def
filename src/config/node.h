// The node behind a Config handle: what was written, where, and what was read of it.  Only for src/config.
#pragma once
#include <fmt/format.h>

#include <map>
#include <optional>

#include "config/config.h"

namespace qroar::detail {

/// A file of YAML text, or what stands for one in errors ("--set").
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
    bool done = false;                         ///< somebody reached this node
    std::optional<Json> value;                 ///< a scalar as the type it was read as
    std::vector<std::string> asked;            ///< keys asked for, there or not
    std::map<std::string, Json> defaults;      ///< taken for absent keys
    std::map<std::string, Pointer> stand_ins;  ///< for absent children
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

  /// The child under a key, or null.
  Pointer find(std::string_view key) const;
  /// "a list", "'abc'", "nothing": for errors.
  std::string describe() const;
};

/// "a, b, c".
std::string comma_list(const std::vector<std::string>& words);
/// "windows" + "length" -> "windows.length".
std::string join(const std::string& parent, std::string_view key);
/// An independent copy that nobody has read.
ConfigNode::Pointer clone(const ConfigNode& node);
/// Sets the paths of a whole tree.
void set_paths(ConfigNode& node, const std::string& path);
/// The keys of a path such as "quant[0].weight.bits": quant, 0, weight, bits.  An Error at `place` when it is none.
std::vector<std::string> split_path(std::string_view path, const Mark& place);
/// What was written, whether read or not.
Json written(const ConfigNode& node);
/// Any YAML text as a tree with paths; `start` is where the text begins.
ConfigNode::Pointer parse_yaml(const std::string& text, const Mark& start);

}  // namespace qroar::detail
