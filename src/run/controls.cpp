#include "run/controls.h"

#include <algorithm>

#include "results/control_names.h"

namespace qroar {
namespace {

/// The blocks that make a quantized model, and their values in full precision.
const std::vector<std::pair<std::string, std::string>> kBlocks{
    {"rotation", "{type: none}"}, {"quant", "[]"}, {"kv", "{type: none}"}};

/// Returns the point with `path` set to `value` (YAML), also on the axis of that name; removes axes below it, which no
/// longer have an effect.
SweepPoint with(const SweepPoint& point, const std::string& path, const Config& value) {
  SweepPoint changed{point.config.with(path, value), {}, point.origin};
  bool known = false;
  for (const auto& [axis, old] : point.axes) {
    const bool below = axis.starts_with(path + ".") || axis.starts_with(path + "[");
    if (!below) changed.axes.emplace_back(axis, axis == path ? value.json() : old);
    known = known || axis == path;
  }
  if (!known) changed.axes.emplace_back(path, value.json());
  return changed;
}

SweepPoint with(const SweepPoint& point, const std::string& path, const std::string& yaml) {
  return with(point, path, Config::parse("value: " + yaml, "control").at("value"));
}

SweepPoint in_full_precision(SweepPoint point) {
  for (const auto& [block, none] : kBlocks) {
    if (point.config.has(block)) point = with(point, block, none);
  }
  return point;
}

}  // namespace

std::vector<std::pair<std::string, Json>> control_block_axes(const SweepPoint& searched) {
  std::vector<std::pair<std::string, Json>> axes;
  for (const char* block : {"rotation", "quant", "kv", "rescale"}) {
    const bool known =
        std::ranges::any_of(searched.axes, [&](const auto& axis) { return axis.first.starts_with(block); });
    if (!known && searched.config.has(block)) axes.emplace_back(block, searched.config.at(block).json());
  }
  return axes;
}

std::vector<NamedPoint> controls_of(const SweepPoint& point) {
  SweepPoint searched = point;
  searched.config = point.config.without("export");
  std::erase_if(searched.axes, [](const auto& axis) { return axis.first.starts_with("export"); });
  for (auto& axis : control_block_axes(point)) searched.axes.push_back(std::move(axis));
  const Config rescale = searched.config.at("rescale");
  if (rescale.at("search").has("quantization") || rescale.has("control")) return {};
  Config quantization = Config::parse("{}", rescale.where());
  for (const char* block : {"rounding", "rotation", "quant", "kv", "calibration"}) {
    if (searched.config.has(block)) quantization = quantization.with(block, searched.config.at(block));
  }
  const SweepPoint unscaled = with(searched, "rescale", "{type: none}"),
                   random = with(searched, "rescale.control", "random");
  if (in_full_precision(searched).config.json() == searched.config.json()) {
    return {{kUnscaled, unscaled}, {kRandomScales, random}};
  }
  SweepPoint transferred = with(searched, "rescale.search.quantization", quantization);
  transferred.axes.back().second.erase("calibration");  // of little use in a table
  return {{kFullPrecision, in_full_precision(unscaled)},
          {kFullPrecisionScaled, in_full_precision(transferred)},
          {kUnscaled, unscaled},
          {kRandomScales, random}};
}

}  // namespace qroar
