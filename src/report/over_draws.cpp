#include "report/over_draws.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "report/row_axes.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

/// Removes a row's rounding draw from its configuration, also where the row is a control with the scales of a search in
/// that draw, whose quantization it then names; returns whether it is one.
bool erase_draw(Json& config) {
  const Json::json_pointer searched("/rescale/search/quantization");
  const Json own = value_at(config, "/rounding");
  const bool of_search = !own.is_null() && config.contains(searched) && value_at(config[searched], "/rounding") == own;
  if (of_search) config[searched].erase("rounding");
  config.erase("rounding");
  return of_search;
}

/// Gives a row of one draw the intervals of its tasks: rows of older versions have other ones.
void update_intervals(Json& row, Effects& effects) {
  for (auto& [name, metric] : row["metrics"].items()) {
    if (!is_of_task(name) || !metric.contains("clusters")) continue;
    const Effect own = effects.of({{1, &row}}, name);
    if (!own.value) continue;
    metric["low"] = own.value->low();
    metric["high"] = own.value->high();
  }
}

/// Returns the mean row of a group of rows, which are in the order of their draws.
Json merged(const std::vector<const Json*>& group, Effects& effects) {
  Json row = *group.front();
  if (!is_ok(row)) {
    erase_draw(row["config"]);  // its axes still say which draw failed
    return row;
  }
  if (group.size() == 1) update_intervals(row, effects);
  if (group.size() == 1 && !row["config"].contains("rounding")) return row;
  Json& axes = row["axes"];
  const std::string searched = "rescale.search.quantization";
  const bool of_search = erase_draw(row["config"]);
  if (of_search && axes.contains(searched)) axes[searched].erase("rounding");
  for (const char* axis : {"rounding", "rounding.draw"}) axes.erase(axis);
  row["draws"] = Json::array();
  for (const Json* one : group) {
    row["draws"].push_back({{"draw", draws_of(*one).front()}, {"id", (*one)["id"]}});
    if (of_search) row["draws"].back()["searched"] = true;
  }
  if (group.size() == 1) return row;
  const auto search_of = [](const Json* one) { return value_at(*one, "/search"); };
  if (std::ranges::any_of(group, [&](const Json* one) { return search_of(one) != search_of(group.front()); })) {
    row.erase("search");
    for (std::size_t i = 0; i < group.size(); ++i) row["draws"][i]["search"] = search_of(group[i]);
  }
  Json metrics = Json::object();
  for (const auto& [name, first] : row["metrics"].items()) {
    if (!first.contains("clusters")) continue;  // percentiles have no mean over draws
    const Effect effect = effects.of({{1, &row}}, name);
    if (!effect.value) {
      fail("{}: its rounding draws: {}; delete their cells and run again", row["id"].get<std::string>(), effect.reason);
    }
    const Estimate& mean = *effect.value;
    Json& metric = metrics[name] = first;
    const std::string link = metric.value("link", "");
    metric["value"] = linked(link, mean.value);
    metric["low"] = linked(link, mean.low());
    metric["high"] = linked(link, mean.high());
    metric["stderr"] = nullptr;
    metric["draws"] = mean.draws;
  }
  row["metrics"] = metrics;
  return row;
}

}  // namespace

std::vector<Json> over_draws(const std::vector<Json>& rows, Effects& effects) {
  std::vector<std::vector<const Json*>> groups;
  std::map<std::string, std::size_t> place;  // of a group, by its configuration
  for (const Json& row : rows) {
    Json config = row["config"];
    erase_draw(config);
    // Rows that read other versions of their files are no draws of one another.
    const std::string key =
        is_ok(row) ? config.dump() + value_at(row, "/environment/inputs").dump() : row["id"].get<std::string>();
    const auto [found, fresh] = place.emplace(key, groups.size());
    if (fresh) groups.emplace_back();
    groups[found->second].push_back(&row);
  }
  std::vector<Json> shown;
  for (auto& group : groups) {
    // A draw of 0 may be written out or not: the same job twice, of which the rows of other draws have the former.
    const auto by_place = [](const Json* a, const Json* b) {
      return std::pair(draws_of(*a).front(), !(*a)["config"].contains("rounding")) <
             std::pair(draws_of(*b).front(), !(*b)["config"].contains("rounding"));
    };
    std::ranges::stable_sort(group, by_place);
    const auto same = [](const Json* a, const Json* b) { return draws_of(*a).front() == draws_of(*b).front(); };
    group.erase(std::unique(group.begin(), group.end(), same), group.end());
    shown.push_back(merged(group, effects));
  }
  return shown;
}

}  // namespace qroar
