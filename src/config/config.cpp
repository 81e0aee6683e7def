// The handle: walks the tree and records which nodes were read.
#include "config/config.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "config/node.h"

namespace qroar {

using detail::ConfigNode;

namespace {

void expect(const Config& config, Config::Kind kind, const char* name) {
  if (config.kind() == kind) return;
  config.fail(fmt::format("expected {}, found {}", name, ConfigNode::of(config)->describe()));
}

void note_asked(const Config& map, std::string_view key) {
  expect(map, Config::Kind::map, "a map");
  auto& asked = ConfigNode::of(map)->reading.asked;
  if (std::ranges::find(asked, key) == asked.end()) asked.emplace_back(key);
}

/// Returns the key that the user probably wrote instead of the missing `key`: present, similar, and not read.
std::string misspelled(const ConfigNode& map, std::string_view key) {
  std::vector<std::string> unread;
  for (const auto& child : map.children) {
    if (!child.node->reading.done) unread.push_back(child.key);
  }
  return nearest(key, unread);
}

}  // namespace

Config::Kind Config::kind() const { return node_->kind; }
std::string Config::path() const { return node_->path; }
std::string Config::where() const { return node_->mark.text(); }
std::filesystem::path Config::folder() const { return node_->mark.source->folder; }

bool Config::has(std::string_view key) const {
  note_asked(*this, key);
  return node_->find(key) != nullptr;
}

Config Config::at(std::string_view key) const {
  note_asked(*this, key);
  if (const auto child = node_->find(key)) {
    child->reading.done = true;
    return Config(child);
  }
  const std::string meant = misspelled(*node_, key);
  qroar::fail("{}: {}: missing{}", where(), detail::join(node_->path, key),
              meant.empty() ? "" : fmt::format("; did you misspell it as '{}'?", meant));
}

Config Config::at(std::string_view key, const std::string& fallback) const {
  if (has(key)) return at(key);
  auto& stand_in = node_->reading.stand_ins[std::string(key)];
  if (stand_in == nullptr) {
    stand_in = detail::parse_yaml(fallback, node_->mark);
    detail::set_paths(*stand_in, detail::join(node_->path, key));
  }
  return Config(stand_in);
}

Config Config::section(std::string_view key) const {
  const Config child = at(key, "{}");
  expect(child, Kind::map, "a map");
  return child;
}

std::vector<Config> Config::items() const {
  expect(*this, Kind::list, "a list");
  std::vector<Config> items;
  for (const auto& child : node_->children) {
    child.node->reading.done = true;
    items.push_back(Config(child.node));
  }
  return items;
}

void Config::read_name() const {
  const auto child = node_->find("name");
  if (child == nullptr || child->reading.done) return;
  const auto name = Config(child).as<std::string>();
  constexpr std::size_t kLongest = 24;  // what fits into a legend
  if (name.empty() || !is_visible(name) || utf8_characters(name) > kLongest) {
    Config(child).fail(fmt::format("names this in figures; write 1 to {} characters", kLongest));
  }
  child->reading.names = true;
}

void Config::note_default(std::string_view key, Json value) const {
  node_->reading.defaults[std::string(key)] = std::move(value);
}

void Config::fail(const std::string& message) const {
  qroar::fail("{}: {}{}", where(), node_->path.empty() ? "" : node_->path + ": ", message);
}

}  // namespace qroar

namespace qroar::detail {

std::string comma_list(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

ConfigNode::Pointer ConfigNode::find(std::string_view key) const {
  const auto found = std::ranges::find(children, key, &Child::key);
  return found == children.end() ? nullptr : found->node;
}

std::string named(const std::string& text) {
  constexpr std::size_t kMostShown = 100;
  return text.size() <= kMostShown ? "'" + text + "'" : excerpt(text);
}

std::string ConfigNode::describe() const {
  switch (kind) {
    case Config::Kind::null: return "nothing";
    case Config::Kind::list: return "a list";
    case Config::Kind::map: return "a map";
    case Config::Kind::scalar: break;
  }
  // Written as JSON, since a quoted text may contain newlines.
  return quoted ? excerpt(text) + " in quotes" : named(text);
}

}  // namespace qroar::detail
