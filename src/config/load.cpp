// Config::load: reads a file and the files it includes, and applies the overrides of the command line.
#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/utf8.h"
#include "config/node.h"

namespace qroar {
namespace {

using detail::ConfigNode;
using detail::Mark;
using detail::Source;
using Files = std::vector<std::filesystem::path>;

ConfigNode::Pointer parse_root(const std::string& text, std::shared_ptr<const Source> source) {
  auto root = detail::parse_yaml(text, Mark{std::move(source), 1, 1});
  if (root->kind != Config::Kind::map) {
    fail("{}: expected a map of keys at the top of the file, found {}", root->mark.text(), root->describe());
  }
  return root;
}

/// Merges `over` into `base`: maps by key, recursively; any other value replaces the old one.
void merge(ConfigNode& base, const ConfigNode& over) {
  base.mark = over.mark;
  base.key_mark = over.key_mark;
  for (const auto& child : over.children) {
    const auto found = std::ranges::find(base.children, child.key, &ConfigNode::Child::key);
    if (found == base.children.end()) {
      base.children.push_back(child);
    } else if (found->node->kind == Config::Kind::map && child.node->kind == Config::Kind::map) {
      merge(*found->node, *child.node);
    } else {
      found->node = child.node;
    }
  }
}

void refuse_nested_include(const ConfigNode& node) {
  for (const auto& child : node.children) {
    if (child.key == "include") {
      fail("{}: {}: include may only stand at the top of a file", child.node->key_mark.text(), child.node->path);
    }
    refuse_nested_include(*child.node);
  }
}

/// Removes `include` from the root and returns its entries: one path or a list of paths.
std::vector<Config> take_includes(ConfigNode& root) {
  const Config include = ConfigNode::handle(root.find("include"));
  std::erase_if(root.children, [](const auto& child) { return child.key == "include"; });
  return include.kind() == Config::Kind::list ? include.items() : std::vector{include};
}

// Ignores errors, as a path that cannot be examined (for example, too long) does not count as a file.
bool same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code missing;
  return std::filesystem::equivalent(a, b, missing);
}

bool is_file(const std::filesystem::path& path) {
  std::error_code missing;
  return std::filesystem::exists(path, missing) && !std::filesystem::is_directory(path, missing);
}

std::string chain_text(const Files& chain) {
  std::string text;
  for (const auto& file : chain) text += (text.empty() ? "" : " -> ") + file.string();
  return text;
}

/// What an experiment has read so far: files that include others several times grow exponentially.
struct FilesRead {
  Files files;
  std::size_t nodes = 0;

  void add(const std::filesystem::path& file, const ConfigNode& root) {
    constexpr std::size_t kMaxFiles = 100;
    files.push_back(file);
    nodes += detail::extent(root).nodes;
    if (files.size() > kMaxFiles)
      fail("{}: more than {} files are included, repeated ones counted", file.string(), kMaxFiles);
    if (nodes > detail::kMaxNodes) {
      fail("{}: more than {} values, those of all included files counted", file.string(), detail::kMaxNodes);
    }
  }
};

/// Loads the last file of `chain`, which lists the files that include each other; adds all files read to `read`.
ConfigNode::Pointer load_tree(const Files& chain, FilesRead& read) {
  const std::filesystem::path& file = chain.back();
  auto root = parse_root(read_file(file), std::make_shared<Source>(Source{file.string(), file.parent_path()}));
  read.add(file, *root);
  auto base = std::make_shared<ConfigNode>();
  base->kind = Config::Kind::map;
  if (root->find("include")) {
    for (const Config& entry : take_includes(*root)) {
      Files longer = chain;
      longer.push_back(file.parent_path() / entry.as<std::string>());
      const auto is_this = [&](const auto& other) { return same_file(other, longer.back()); };
      if (!is_file(longer.back())) {
        entry.fail(fmt::format("no such file '{}'; a path counts from the file that includes", longer.back().string()));
      }
      if (std::ranges::any_of(chain, is_this)) entry.fail("a cycle: " + chain_text(longer));
      merge(*base, *load_tree(longer, read));
    }
  }
  refuse_nested_include(*root);
  merge(*base, *root);
  return base;
}

/// Collects relative paths in values that exist only relative to the folder of the file that contains them.
void collect_relative_paths(const ConfigNode& node, Files& found) {
  const std::filesystem::path path = node.text;
  std::error_code missing;
  if (node.kind == Config::Kind::scalar && !path.empty() && path.is_relative() &&
      !std::filesystem::exists(path, missing) && std::filesystem::exists(node.mark.source->folder / path, missing)) {
    found.push_back(node.mark.source->folder / path);
  }
  for (const auto& child : node.children) collect_relative_paths(*child.node, found);
}

/// Applies one "key=value"; errors refer to the N-th one as "--set:N:COLUMN".
Config apply(const Config& config, const std::string& override_text, int number) {
  const std::size_t equals = override_text.find('=');
  const auto source = std::make_shared<Source>(Source{detail::kOverride, {}});
  const Mark key_mark{source, number, 1};
  if (equals == std::string::npos) {
    fail("{}: '{}' has no '='; write --set key=value", key_mark.text(), override_text);
  }
  const Mark value_mark{source, number, static_cast<int>(equals) + 2};
  const auto value = detail::parse_yaml(override_text.substr(equals + 1), value_mark);
  value->key_mark = key_mark;
  return config.with(override_text.substr(0, equals), ConfigNode::handle(value));
}

}  // namespace

Config Config::parse(const std::string& text, const std::string& name) {
  return ConfigNode::handle(parse_root(text, std::make_shared<Source>(Source{name, {}})));
}

ConfigSources sources_of(const std::filesystem::path& file) {
  ConfigSources sources;
  FilesRead read;
  collect_relative_paths(*load_tree({file}, read), sources.beside);
  sources.files = std::move(read.files);
  return sources;
}

Config Config::load(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  if (std::error_code missing; std::filesystem::is_directory(file, missing)) {
    qroar::fail("{}: is a folder; name a YAML file", file.string());
  }
  if (!is_file(file)) qroar::fail("{}: no such file", file.string());
  if (const std::string name = std::filesystem::absolute(file).string(); utf8_prefix(name) < name.size())
    qroar::fail("{}: its name or its folder's is not UTF-8 text, so that no result could name it; rename it", name);
  FilesRead read;
  const auto root = load_tree({file}, read);
  detail::set_paths(*root, "");
  Config config = ConfigNode::handle(root);
  int number = 0;
  for (const std::string& override_text : overrides) config = apply(config, override_text, ++number);
  return config;
}

}  // namespace qroar
