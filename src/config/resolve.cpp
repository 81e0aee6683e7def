// The state of a tree after all values were read: the resolved values, and the keys that were not read.
#include <algorithm>

#include "base/error.h"
#include "config/node.h"

namespace qroar {

using detail::ConfigNode;

namespace {

Json resolve(const ConfigNode& node);

Json resolve_map(const ConfigNode& map) {
  std::map<std::string, Json> values = map.reading.defaults;
  for (const auto& [key, stand_in] : map.reading.stand_ins) values[key] = resolve(*stand_in);
  for (const auto& child : map.children) {
    if (child.node->reading.done) values[child.key] = resolve(*child.node);
  }
  Json sorted = Json::object();
  for (const auto& [key, value] : values) sorted[key] = value;
  return sorted;
}

Json resolve(const ConfigNode& node) {
  if (node.kind == Config::Kind::map) return resolve_map(node);
  if (node.kind == Config::Kind::list) {
    Json list = Json::array();
    for (const auto& child : node.children) {
      if (child.node->reading.done) list.push_back(resolve(*child.node));
    }
    return list;
  }
  return node.reading.value ? *node.reading.value : detail::written(node);
}

[[noreturn]] void fail_unread(const ConfigNode& parent, const ConfigNode::Child& child) {
  const std::string place = child.node->key_mark.text() + ": " + child.node->path;
  if (parent.kind == Config::Kind::list) fail("{}: nothing reads this element; remove it", place);
  const auto& known = parent.reading.asked;
  std::vector<std::string> absent;
  std::ranges::copy_if(known, std::back_inserter(absent), [&](const auto& key) { return parent.find(key) == nullptr; });
  const std::string near = nearest(child.key, absent);
  if (!near.empty()) fail("{}: unknown key; did you mean '{}'?", place, near);
  if (known.empty()) fail("{}: unknown key; no keys are known here", place);
  fail("{}: unknown key; known keys: {}", place, detail::comma_list(known));
}

void check_children(const ConfigNode& node) {
  for (const auto& child : node.children) {
    if (!child.node->reading.done && !child.node->reading.names) fail_unread(node, child);
    check_children(*child.node);
  }
}

}  // namespace

Json Config::resolved() const { return resolve(*node_); }

void check_all_read(const Config& root) { check_children(*ConfigNode::of(root)); }

}  // namespace qroar
