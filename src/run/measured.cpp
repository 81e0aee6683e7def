#include "run/measured.h"

#include <cmath>

#include "base/error.h"

namespace qroar {

void Measured::add(const std::vector<MetricValue>& values, Averaged averaged) {
  for (const MetricValue& value : values) {
    if (std::isnan(value.value)) fail("{}: not a number, over {} samples", value.name, value.count);
    Json& metric = row["metrics"][value.name];
    metric = {{"value", value.value}, {"stderr", value.stderr_}, {"count", value.count}};
    if (value.clusters.empty()) continue;
    const Estimate mean = estimate(value.clusters, averaged);
    metric["clusters"] = mean.clusters;
    metric["low"] = linked(value.link, mean.low());
    metric["high"] = linked(value.link, mean.high());
    if (!value.link.empty()) metric["link"] = value.link;
  }
  add_clusters(values);
}

void Measured::add_clusters(const std::vector<MetricValue>& values) {
  for (const MetricValue& value : values) {
    for (const auto& [group, scored, sum, weight] : value.clusters)
      output.clusters.push_back({value.name, group, scored, sum, weight});
  }
}

void Measured::add(Measured more) {
  row.update(more.row, /*merge_objects=*/true);
  for (auto& window : more.output.windows) output.windows.push_back(std::move(window));
  for (auto& cluster : more.output.clusters) output.clusters.push_back(std::move(cluster));
  output.curves.merge(more.output.curves);
  output.tasks.merge(more.output.tasks);
}

}  // namespace qroar
