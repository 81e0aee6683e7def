#include "search/spec.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace qroar {

SearchGrid::SearchGrid(const Config& config)
    : low(config.get<double>("low", 0.8, {1e-3, 1})),
      high(config.get<double>("high", 1.25, {1, 1e3})),
      points(config.get<int64_t>("points", 7, {3, 1001})) {
  if (points % 2 == 0)
    config.at("points").fail(fmt::format("{} leaves no point for a scale of 1; take an odd number", points));
}

std::vector<double> SearchGrid::values() const {
  std::vector<double> values;
  const int64_t half = points / 2;
  for (int64_t k = -half; k <= half; ++k) {
    values.push_back(static_cast<double>(std::abs(k)) / static_cast<double>(half) * std::log(k < 0 ? low : high));
  }
  return values;
}

std::vector<double> SearchSpace::clamped(std::vector<double> point) const {
  for (std::size_t i = 0; i < point.size(); ++i) point[i] = std::clamp(point[i], values[i].front(), values[i].back());
  return point;
}

std::vector<double> SearchSpace::drawn(std::mt19937_64& random) const {
  std::vector<double> point;
  for (const auto& window : values) point.push_back(window[random() % window.size()]);
  return point;
}

bool coordinate_sweep(const SearchSpace& space, const std::function<double(const std::vector<double>&)>& score,
                      ScoredPoint& best) {
  bool moved = false;
  for (const std::size_t dimension : space.order) {
    std::vector<double> point = best.point;
    for (const double value : space.values[dimension]) {
      point[dimension] = value;
      const double found = score(point);
      if (found < best.score) {
        best = {point, found};
        moved = true;
      }
    }
  }
  return moved;
}

namespace {

/// Returns short_length where nothing is said: less than the longest of `lengths`, for the guide by tails.
int64_t default_short_length(const std::vector<int64_t>& lengths) {
  constexpr int64_t kUsual = 512;
  const int64_t longest = lengths.empty() ? 0 : std::ranges::max(lengths);
  return longest > kUsual ? kUsual : std::max<int64_t>(2, longest / 2);
}

}  // namespace

SearchSpec::SearchSpec(const Config& config)
    : data(read_data_spec(config.at("data"))),
      lengths(config.get<std::vector<int64_t>>("lengths")),
      short_length(config.get<int64_t>("short_length", default_short_length(lengths), {2, int64_t{1} << 31})),
      guard(config.get<double>("guard", 0.005, {0, 1e6})),
      grid(config.section("grid")),
      guide(config.get_choice<SearchGuide>("guide", SearchGuide::pressure,
                                           {{"none", SearchGuide::none},
                                            {"pressure", SearchGuide::pressure},
                                            {"sensitivity", SearchGuide::sensitivity}})),
      budget(config.get<double>("budget", 0, {0, 1e9})),
      seed(config.get<int64_t>("seed", 0)),
      folds(config.get<int64_t>("folds", 1, {1, 1000})) {
  if (config.json().contains("guided")) {
    config.at("guided").fail("has become `guide`: write guide: pressure for true and guide: none for false");
  }
  if (lengths.empty() || std::ranges::min(lengths) < 2)
    config.at("lengths").fail("expected lengths of 2 tokens or more");
  weights = config.get<std::vector<double>>("weights", std::vector<double>(lengths.size(), 1));
  if (weights.size() != lengths.size() || !(std::ranges::min(weights) > 0)) {
    config.at("weights").fail(fmt::format("expected {} positive weights, one a length", lengths.size()));
  }
  if (guide != SearchGuide::none) narrow = config.get<double>("narrow", 0.5, {0, 1});
  if (guide == SearchGuide::pressure) tolerance = config.get<double>("tolerance", 0.05, {0, 1e6});
  if (const int64_t longest = std::ranges::max(lengths); guide == SearchGuide::pressure && short_length >= longest) {
    config.at(config.has("short_length") ? "short_length" : "lengths")
        .fail(
            fmt::format("the guide compares the tails of windows of {} tokens, the longest of `lengths`, with those of "
                        "pieces of short_length, {} tokens, which must be fewer; take short_length: {}, or guide: "
                        "sensitivity or none",
                        longest, short_length, std::max<int64_t>(2, longest / 2)));
  }
  if (guide == SearchGuide::sensitivity && budget > 0 && budget < kGradientCost + 3) {
    config.at("budget").fail(fmt::format(
        "the guide's gradient counts as {} forwards and scales of 1 take one or two, so that {} leave none for "
        "candidates; take more, or guide: pressure",
        kGradientCost, budget));
  }
  const Config plugin = config.at("strategy", "{type: coordinate}");
  strategy = Registry<Strategy>::instance().build(plugin);
  if (budget == 0 && std::isinf(strategy->most_forwards(1, grid.points))) {
    plugin.fail("this strategy runs until its budget is spent; give search.budget: N (forwards over the dev windows)");
  }
  if (config.has("quantization")) quantization = config.at("quantization");
  if (config.has("rope")) rope = config.at("rope");
}

BandSearch read_search(const Config& rescale, const BandLayout& layout) {
  const auto control = rescale.get_choice<SearchControl>(
      "control", SearchControl::none,
      {{"none", SearchControl::none}, {"random", SearchControl::random}, {"temperature", SearchControl::temperature}});
  const int64_t draw = control == SearchControl::random ? rescale.get<int64_t>("draw", 0, {0, 1'000'000}) : 0;
  BandSearch search{SearchSpec(rescale.at("search")), layout, control, draw};
  if (search.spec.strategy->asks_for_proxy() && layout.variant == BandVariant::symmetric) {
    rescale.at("search").fail(
        "symmetric scales leave every attention logit as it is, so that this strategy's proxy sees no "
        "difference; take the strategy coordinate or gradient");
  }
  if (search.spec.strategy->asks_for_proxy() && layout.heads > 1) {
    rescale.at("per_head")
        .fail("this strategy's proxy adds up the heads of a layer; take the strategy gradient or coordinate");
  }
  return search;
}

}  // namespace qroar
