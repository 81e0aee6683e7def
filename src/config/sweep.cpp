#include "config/sweep.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "config/node.h"

namespace qroar {

using detail::ConfigNode;

namespace {

constexpr std::size_t kMaxPoints = 100'000;
constexpr std::size_t kMaxPointBytes = std::size_t{4} << 30;  // of all points: each is a tree of its own

struct Axis {
  std::string path;               ///< as written
  std::vector<std::string> keys;  ///< the parts of the path
  std::vector<Config> values;
};

void refuse_repeats(const std::vector<Config>& values) {
  std::map<SortedJson, std::string> places;
  for (const Config& value : values) {
    const auto [first, fresh] = places.emplace(value.json(), value.where());
    if (!fresh) value.fail(fmt::format("the same value as at {}; each value of an axis once", first->second));
  }
}

/// Throws an Error for an axis that overwrites an earlier one, which would then change nothing.
void refuse_overwritten(const std::vector<Axis>& earlier, const Axis& axis, const ConfigNode& node) {
  for (const Axis& other : earlier) {
    const auto [mine, theirs] = std::ranges::mismatch(axis.keys, other.keys);
    if (mine == axis.keys.end()) {
      fail("{}: {}: overwrites the axis '{}' before it; write it first", node.key_mark.text(), node.path, other.path);
    }
  }
}

std::vector<Axis> read_axes(const Config& block) {
  if (block.kind() != Config::Kind::map) {
    block.fail(fmt::format("expected a map of axes, found {}; write - key: [value, value]",
                           ConfigNode::of(block)->describe()));
  }
  std::vector<Axis> axes;
  for (const auto& [path, node] : ConfigNode::of(block)->children) {
    const Config values = ConfigNode::handle(node);
    if (values.kind() != Config::Kind::list) {
      values.fail(fmt::format("expected a list of values, found {}; write [value, value]", node->describe()));
    }
    Axis axis{path, detail::split_path(path, node->key_mark), values.items()};
    if (axis.values.empty()) values.fail("an axis without values; remove it or give it some");
    refuse_repeats(axis.values);
    refuse_overwritten(axes, axis, *node);
    axes.push_back(std::move(axis));
  }
  if (axes.empty()) block.fail("a block without axes; remove it or give it some");
  return axes;
}

std::size_t product(const std::vector<Axis>& axes, const Config& block) {
  std::size_t points = 1;
  for (const Axis& axis : axes) {
    points *= axis.values.size();
    if (points > kMaxPoints) block.fail(fmt::format("more than {} points in one block; split it", kMaxPoints));
  }
  return points;
}

/// Returns point `index` of a block; the last axis changes fastest.
SweepPoint point_of(const Config& base, const std::vector<Axis>& axes, std::size_t index, const std::string& origin) {
  std::vector<const Config*> chosen(axes.size());
  for (std::size_t i = axes.size(); i-- > 0; index /= axes[i].values.size()) {
    chosen[i] = &axes[i].values[index % axes[i].values.size()];
  }
  SweepPoint point{base, {}, origin};
  for (std::size_t i = 0; i < axes.size(); ++i) {
    point.config = point.config.with(axes[i].path, *chosen[i]);
    point.axes.emplace_back(axes[i].path, chosen[i]->json());
  }
  return point;
}

std::vector<SweepPoint> expand_blocks(const Config& base, const Config& sweep) {
  if (sweep.kind() != Config::Kind::list) {
    sweep.fail(fmt::format("expected a list of blocks, found {}; write '- ' before each block",
                           ConfigNode::of(sweep)->describe()));
  }
  std::vector<SweepPoint> points;
  std::map<SortedJson, std::string> origins;  // JSON with sorted keys, in which 4 equals 4.0
  const std::size_t least = detail::extent(*ConfigNode::of(base)).bytes;  // of a point
  std::size_t bytes = 0;
  const auto check_size = [&](std::size_t sum, const Config& block) {
    if (sum <= kMaxPointBytes && points.size() < kMaxPoints) return;
    block.fail(
        fmt::format("more than {} points, or {} GiB of them, with those of the blocks before it; split the experiment",
                    kMaxPoints, kMaxPointBytes >> 30));
  };
  for (const Config& block : sweep.items()) {
    const std::vector<Axis> axes = read_axes(block);
    const std::size_t count = product(axes, block);
    check_size(bytes + count * least, block);  // before any is made
    for (std::size_t i = 0; i < count; ++i) {
      SweepPoint point = point_of(base, axes, i, block.where());
      bytes += detail::extent(*ConfigNode::of(point.config)).bytes;
      check_size(bytes, block);
      const auto [first, fresh] = origins.emplace(point.config.json(), point.origin);
      if (fresh) {
        points.push_back(std::move(point));
      } else if (first->second == point.origin) {
        block.fail("two points of this block are equal: an axis changes nothing");
      }
    }
  }
  if (points.empty()) sweep.fail("an empty sweep; remove it or write a block");
  return points;
}

/// Appends the points that `windows.lengths` of one point stands for, the values of an innermost axis windows.length.
void append_by_length(SweepPoint point, std::vector<SweepPoint>& points) {
  const Config windows = point.config.at("windows", "{}");
  if (windows.kind() != Config::Kind::map || !windows.has("lengths")) {
    points.push_back(std::move(point));
    return;
  }
  const Config lengths = windows.at("lengths");
  const std::string axis = "windows.length";
  if (std::ranges::count(point.axes, axis, &std::pair<std::string, Json>::first) > 0) {
    lengths.fail("the sweep has the axis windows.length already; write the lengths in one place");
  }
  if (windows.has("length")) {
    windows.at("length").fail(
        fmt::format("is not read beside windows.lengths ({}); write one of the two", lengths.where()));
  }
  if (lengths.kind() != Config::Kind::list || lengths.items().empty())
    lengths.fail("expected a list of lengths; write [2048, 4096]");
  refuse_repeats(lengths.items());
  point.config = point.config.with("windows", windows.without("lengths"));
  for (const Config& length : lengths.items()) {
    points.push_back({point.config.with(axis, length), point.axes, point.origin});
    points.back().axes.emplace_back(axis, length.json());
  }
  if (points.size() > kMaxPoints) lengths.fail(fmt::format("more than {} points; split the experiment", kMaxPoints));
}

/// Returns whether a tree holds a value that was read from `source`.
bool holds_value_of(const ConfigNode& node, const detail::Source* source) {
  if (node.children.empty()) return node.mark.source.get() == source;
  return std::ranges::any_of(node.children, [&](const auto& child) { return holds_value_of(*child.node, source); });
}

/// Throws an Error for a value of --set that the axes overwrite in every point, where it would change nothing.
void refuse_overwritten_sets(const ConfigNode& node, const std::vector<SweepPoint>& points) {
  for (const auto& child : node.children) refuse_overwritten_sets(*child.node, points);
  const detail::Source* source = node.mark.source.get();
  const auto holds = [&](const SweepPoint& point) { return holds_value_of(*ConfigNode::of(point.config), source); };
  if (!node.children.empty() || source->name != detail::kOverride || std::ranges::any_of(points, holds)) return;
  fail("{}: {}: an axis of the sweep overwrites it in every point; change the axis in the file", node.mark.text(),
       node.path);
}

}  // namespace

std::vector<SweepPoint> expand(const Config& root) {
  const Config base = root.without("sweep");
  std::vector<SweepPoint> points;
  if (root.has("sweep")) {
    for (SweepPoint& point : expand_blocks(base, root.at("sweep"))) append_by_length(std::move(point), points);
    refuse_overwritten_sets(*ConfigNode::of(base), points);
  } else {
    append_by_length({base, {}, root.where()}, points);
  }
  for (const SweepPoint& point : points) point.config.has("sweep");  // so that "did you mean" knows the word
  return points;
}

}  // namespace qroar
