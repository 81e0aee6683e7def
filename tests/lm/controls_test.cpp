// The cells that every search is compared with.
#include "run/controls.h"

#include <fmt/format.h>

#include <map>

#include "results/control_names.h"
#include "support/catch.h"

namespace qroar {
namespace {

const char* const kSearched =
    "{rotation: {type: hadamard}, quant: [{match: 'layers.*', weight: {type: rtn}}], kv: {type: fake_quant},\n"
    " rope: {type: yarn, factor: 8}, rescale: {type: bands, search: {lengths: [64]}}, export: {folder: out}}";
const std::vector<const char*> kRoundingBlocks{"rotation", "quant", "kv"};

Json without_rounding(Json config) {
  config["rotation"] = config["kv"] = {{"type", "none"}};
  config["quant"] = Json::array();
  return config;
}

std::map<std::string, Json> controls_by_name(const Config& config) {
  std::map<std::string, Json> found;
  for (const NamedPoint& control : controls_of({config, {}, "s.yaml:1:1"}))
    CHECK(found.emplace(control.name, control.point.config.json()).second);
  return found;
}

}  // namespace

TEST_CASE("a search's controls: nothing rounded, with and without the scales, and other scales under the rounding") {
  const Config config = Config::parse(kSearched, "s.yaml");
  Json own = config.json();
  own.erase("export");
  auto controls = controls_by_name(config);
  CHECK(controls.size() == 12);

  Json unscaled = own;
  unscaled["rescale"] = {{"type", "none"}};
  CHECK(controls.at(kUnscaled) == unscaled);
  CHECK(controls.at(kFullPrecision) == without_rounding(unscaled));

  Json transferred = own;  // scales that the search finds under the rounding
  for (const char* block : kRoundingBlocks) transferred["rescale"]["search"]["quantization"][block] = own[block];
  CHECK(controls.at(kFullPrecisionScaled) == without_rounding(transferred));

  Json temperature = own;
  temperature["rescale"]["control"] = "temperature";
  CHECK(controls.at(kOneTemperature) == temperature);
  for (int draw = 0; draw < 8; ++draw) {
    Json random = own;
    random["rescale"]["control"] = "random";
    random["rescale"]["draw"] = draw;
    CHECK(controls.at(fmt::format("{} {}", kRandomScales, draw)) == random);
  }
}

TEST_CASE("a search in full precision has no control in full precision, and a control has none of its own") {
  const Config config = Config::parse(kSearched, "s.yaml");
  const Config full = config.without("quant").without("kv").without("rotation");
  const auto controls = controls_by_name(full);
  CHECK(controls.size() == 10);
  CHECK_FALSE(controls.contains(kFullPrecision));
  CHECK_FALSE(controls.contains(kFullPrecisionScaled));
  for (const NamedPoint& control : controls_of({config, {}, "s.yaml:1:1"})) {
    if (control.point.config.json()["rescale"]["type"] == "bands") CHECK(controls_of(control.point).empty());
  }
}

}  // namespace qroar
