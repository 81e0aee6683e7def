#include "diagnostics/by_document.h"

#include <algorithm>

#include "base/csv.h"

namespace qroar {

void DocumentMean::add(int64_t document, double weight, double sum) {
  if (weight == 0) return;
  ClusterSums& own = by_document_.try_emplace(document, ClusterSums{0, {0}}).first->second;
  own.weight += weight;
  own.sum_R.front() += sum;
}

Estimate DocumentMean::estimate() const {
  std::vector<ClusterSums> clusters;
  for (const auto& [document, own] : by_document_) clusters.push_back(own);
  return qroar::estimate(clusters);
}

std::vector<std::string> interval_fields(const Estimate& found, const std::function<double(double)>& shown) {
  const auto field = [&](double x) { return found.has_interval() ? csv_number(shown(x)) : std::string(); };
  return {csv_number(shown(found.value)), field(found.low()), field(found.high())};
}

std::vector<std::string> rate_fields(const Estimate& found) {
  if (found.value == 0) return {"0", "", ""};
  return interval_fields(found, [](double x) { return std::max(x, 0.0); });
}

std::vector<std::string> joined(std::initializer_list<std::vector<std::string>> parts) {
  std::vector<std::string> row;
  for (const auto& part : parts) row.insert(row.end(), part.begin(), part.end());
  return row;
}

}  // namespace qroar
