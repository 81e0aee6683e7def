#include "run/controls.h"

#include <fmt/format.h>

#include <algorithm>

#include "results/control_names.h"

namespace qroar {
namespace {

/// The blocks that make a quantized model, and their values in full precision.
const std::vector<std::pair<std::string, std::string>> kBlocks{
    {"rotation", "{type: none}"}, {"quant", "[]"}, {"kv", "{type: none}"}};

/// Draws of random scales: the mean of eight directions has a third of one direction's spread, and their spread an
/// interval of 7 degrees of freedom.
constexpr int kRandomDraws = 8;

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
  std::vector<NamedPoint> controls;
  if (in_full_precision(searched).config.json() != searched.config.json()) {
    SweepPoint transferred = with(searched, "rescale.search.quantization", quantization);
    transferred.axes.back().second.erase("calibration");  // of little use in a table
    controls = {{kFullPrecision, in_full_precision(unscaled)}, {kFullPrecisionScaled, in_full_precision(transferred)}};
  }
  controls.push_back({kUnscaled, unscaled});
  controls.push_back({kOneTemperature, with(searched, "rescale.control", "temperature")});
  for (int draw = 0; draw < kRandomDraws; ++draw) {
    const std::string number = std::to_string(draw);
    controls.push_back({fmt::format("{} {}", kRandomScales, number), with(random, "rescale.draw", number)});
  }
  return controls;
}

}  // namespace qroar
