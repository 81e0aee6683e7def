// Derives new trees from existing ones: with a value at a path, or without a key.
#include <algorithm>

#include "base/error.h"
#include "base/number.h"
#include "config/node.h"

namespace qroar {
namespace detail {

std::string join(const std::string& parent, std::string_view key) {
  return parent.empty() ? std::string(key) : fmt::format("{}.{}", parent, key);
}

ConfigNode::Pointer clone(const ConfigNode& node) {
  auto copy = std::make_shared<ConfigNode>(node);
  copy->reading = {};
  for (auto& child : copy->children) child.node = clone(*child.node);
  return copy;
}

Extent extent(const ConfigNode& node) {
  Extent sum;
  sum.bytes += node.text.size() + node.path.size();
  for (const auto& child : node.children) {
    const Extent part = extent(*child.node);
    sum.nodes += part.nodes;
    sum.bytes += part.bytes + child.key.size();
    sum.depth = std::max(sum.depth, part.depth + 1);
  }
  return sum;
}

namespace {

void set_paths(ConfigNode& node, const std::string& path, std::size_t& bytes) {
  bytes += path.size();
  if (bytes > kMaxBytes) {
    fail("{}: its keys are so long and so deeply nested that their paths take more than {} MiB; shorten them",
         node.mark.text(), kMaxBytes >> 20);
  }
  node.path = path;
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const auto& [key, child] = node.children[i];
    set_paths(*child, node.kind == Config::Kind::list ? fmt::format("{}[{}]", path, i) : join(path, key), bytes);
  }
}

}  // namespace

void set_paths(ConfigNode& node, const std::string& path) {
  std::size_t bytes = 0;
  set_paths(node, path, bytes);
}

std::vector<std::string> split_path(std::string_view path, const Mark& place) {
  const auto refuse = [&] {
    fail("{}: '{}' is not a path of keys; write one such as windows.length or quant[0].weight.bits", place.text(),
         path);
  };
  std::vector<std::string> keys(1);
  bool after_bracket = false;  // only a dot, another bracket or the end may follow ]
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '.') {
      keys.emplace_back();
      after_bracket = false;
    } else if (path[i] == '[') {
      const std::size_t close = path.find(']', i);
      if (close == path.npos) refuse();
      keys.emplace_back(path.substr(i + 1, close - i - 1));
      if (!std::ranges::all_of(keys.back(), [](char c) { return c >= '0' && c <= '9'; })) refuse();
      after_bracket = true;
      i = close;
    } else {
      if (after_bracket) refuse();
      keys.back() += path[i];
    }
  }
  if (std::ranges::any_of(keys, &std::string::empty)) refuse();
  if (keys.size() > kMaxDepth) fail("{}: a path of more than {} keys", place.text(), kMaxDepth);
  return keys;
}

}  // namespace detail

using detail::ConfigNode;

namespace {

/// Returns the slot of one key below `parent`, created if a map lacks it.  Throws an Error at the value's key when
/// there is no such place.
ConfigNode::Pointer& slot(ConfigNode& parent, const std::string& key, const std::string& path,
                          const ConfigNode& value) {
  const std::string place = value.key_mark.text() + ": " + path;
  auto& children = parent.children;
  if (parent.kind == Config::Kind::list) {
    std::size_t index = 0;
    if (read_number(key, index) != std::errc() || index >= children.size()) {
      fail("{}: no such element; {} is a list of {} (the first is 0)", place, parent.mark.text(), children.size());
    }
    return children[index].node;
  }
  if (parent.kind == Config::Kind::scalar) {
    fail("{}: no such place; {} at {} has no keys", place, parent.describe(), parent.mark.text());
  }
  parent.kind = Config::Kind::map;  // `windows:` with nothing under it counts as an empty map
  auto found = std::ranges::find(children, key, &ConfigNode::Child::key);
  if (found == children.end()) {
    auto fresh = std::make_shared<ConfigNode>();
    fresh->mark = value.mark;
    fresh->key_mark = value.key_mark;
    found = children.insert(children.end(), {key, std::move(fresh)});
  }
  return found->node;
}

}  // namespace

Config Config::with(std::string_view dotted_path, const Config& value) const {
  const auto root = detail::clone(*node_);
  auto node = root;
  ConfigNode::Pointer* place = nullptr;
  for (const std::string& key : detail::split_path(dotted_path, value.node_->key_mark)) {
    place = &slot(*node, key, std::string(dotted_path), *value.node_);
    node = *place;
  }
  *place = detail::clone(*value.node_);
  detail::set_paths(*root, node_->path);
  return Config(root);
}

Config Config::as_map_of(const std::string& key) const {
  const auto map = std::make_shared<ConfigNode>();
  map->kind = Kind::map;
  map->mark = node_->mark;
  map->key_mark = node_->key_mark;
  map->children.push_back({key, detail::clone(*node_)});
  detail::set_paths(*map, node_->path);
  return Config(map);
}

Config Config::without(std::string_view key) const {
  const auto root = detail::clone(*node_);
  std::erase_if(root->children, [&](const auto& child) { return child.key == key; });
  return Config(root);
}

}  // namespace qroar
