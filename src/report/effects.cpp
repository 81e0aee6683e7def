#include "report/effects.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/warn_once.h"
#include "report/changed_files.h"
#include "report/row_axes.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

/// Returns the ids of the row's cells, in the order of their draws.
std::vector<std::string> cells_of(const Json& row) {
  if (!row.contains("draws")) return {row["id"]};
  std::vector<std::string> ids;
  for (const Json& draw : row["draws"]) ids.push_back(draw["id"]);
  return ids;
}

int64_t draw_of(const Json& row) {
  const Json& draw = value_at(row, "/config/rounding/draw");
  return draw.is_number_integer() ? draw.get<int64_t>() : 0;
}

/// Returns whether the row's scales were found in its own draw, by a search on a model that was rounded there.
bool has_scales_of_its_draw(const Json& row) {
  if (row.contains("draws")) return row["draws"][0].contains("searched");
  return !value_at(row, "/config/rescale/search/quantization/rounding").is_null();
}

/// Returns whether nothing of the row's model is rounded: it is then the same function in every rounding draw.  In 16
/// bits it is not, since a draw's weights are rounded to them anew.
bool is_full_precision(const Json& row) {
  const Json &quant = value_at(row, "/config/quant"), &kv = value_at(row, "/config/kv/type"),
             &dtype = value_at(row, "/environment/dtype");
  if (has_scales_of_its_draw(row)) return false;
  const bool is_16_bits = dtype.is_string() && dtype.get<std::string>().find("float16") != std::string::npos;
  return (quant.is_null() || quant.empty()) && (kv.is_null() || kv == "none") && !is_16_bits;
}

/// Returns whether a row's means are those of its clusters, up to the rounding of sums of up to millions of terms: else
/// one of the two files was edited, or is another cell's.
bool are_of(const std::vector<ClusterRecord>& clusters, const Json& metrics) {
  std::map<std::string, std::pair<double, double>> sums;  // and weights
  for (const ClusterRecord& record : clusters) {
    auto& [sum, weight] = sums[record.metric];
    sum += record.sum;
    weight += record.weight;
  }
  return std::ranges::all_of(sums, [&](const auto& entry) {
    const auto metric = metrics.find(entry.first);
    if (metric == metrics.end() || !value_at(*metric, "/value").is_number()) return true;
    const double stated = (*metric)["value"], mean = entry.second.first / entry.second.second;
    return std::abs(linked(metric->value("link", ""), mean) - stated) <= 1e-9 * std::max(1.0, std::abs(stated));
  });
}

/// Returns the draws that an effect of these rows is over: those of the rows that draws make a difference to.
std::vector<int64_t> draws_behind(const std::vector<Term>& terms) {
  const auto rounded = std::ranges::find_if(
      terms, [](const Term& term) { return term.row != nullptr && !is_full_precision(*term.row); });
  const Json* row = (rounded == terms.end() ? terms.front() : *rounded).row;
  return row == nullptr ? std::vector<int64_t>{} : draws_of(*row);
}

}  // namespace

bool is_of_task(const std::string& metric) {
  return metric.find('/') != metric.npos && !metric.starts_with("nll_by_position");
}

std::string mark_survivors(const std::vector<Effect*>& effects) {
  std::vector<double> p_values;
  for (const Effect* effect : effects) p_values.push_back(effect->value ? effect->value->p_value() : Estimate::kNaN);
  const std::vector<bool> survives = survives_false_discovery(p_values);
  for (std::size_t i = 0; i < effects.size(); ++i) effects[i]->survives = survives[i];
  return fmt::format("{} of {} comparisons survive Benjamini-Hochberg at 5 % (*)", std::ranges::count(survives, true),
                     std::ranges::count_if(p_values, [](double p) { return !std::isnan(p); }));
}

std::vector<int64_t> draws_of(const Json& row) {
  if (!row.contains("draws")) return {draw_of(row)};
  std::vector<int64_t> draws;
  for (const Json& draw : row["draws"]) draws.push_back(draw["draw"]);
  return draws;
}

Effects::Effects(const Results& results, const std::vector<Json>& rows) : results_(results) {
  for (const Json& row : rows) cells_.emplace(row["id"], &row);
}

const Json* Effects::cell(const std::string& id) const {
  const auto found = cells_.find(id);
  return found == cells_.end() ? nullptr : found->second;
}

Effects::Clusters Effects::read(const Json& row) const {
  Clusters found;
  std::size_t draw = 0;
  for (const std::string& id : cells_of(row)) {
    const auto file = results_.cell(id) / "clusters.csv";
    if (!std::filesystem::exists(file)) return {"no clusters.csv (run again)", {}, {}};
    std::vector<ClusterRecord> records;
    try {
      records = read_clusters(file);
    } catch (const Error& error) {
      warn_once(error.what());
      return {"clusters.csv is damaged (delete the cell and run again)", {}, {}};
    }
    if (const Json* known = cell(id); known != nullptr && !are_of(records, (*known)["metrics"]))
      return {"clusters.csv is not the row's (delete the cell and run again)", {}, {}};
    std::map<std::string, std::size_t> next;
    for (const ClusterRecord& record : records) {
      auto [metric, is_new] = found.of.try_emplace(record.metric);
      std::vector<Cluster>& clusters = metric->second;
      if (is_new) found.names.push_back(record.metric);
      if (draw == 0) clusters.push_back({record.group, record.scored, record.weight, {}});
      const std::size_t place = next[record.metric]++;
      const bool fits = place < clusters.size() && clusters[place].scored == record.scored &&
                        clusters[place].weight == record.weight && clusters[place].sum_R.size() == draw;
      if (!fits) return {"draws that scored other tokens", {}, {}};
      clusters[place].sum_R.push_back(record.sum);
    }
    ++draw;
    for (const auto& [name, clusters] : found.of) {
      const bool whole = std::ranges::all_of(clusters, [&](const Cluster& one) { return one.sum_R.size() == draw; });
      if (!whole) return {"draws that scored other tokens", {}, {}};
    }
  }
  return found;
}

const Effects::Clusters& Effects::clusters(const Json& row) {
  const auto [known, fresh] = known_.try_emplace(row["id"].get<std::string>() + (row.contains("draws") ? "+" : ""));
  if (fresh) known->second = read(row);
  return known->second;
}

std::vector<std::string> Effects::metrics(const Json& row) { return clusters(row).names; }

std::pair<const std::vector<Effects::Cluster>*, std::string> Effects::measured(const Term& term,
                                                                               const std::string& metric,
                                                                               const std::vector<int64_t>& draws) {
  const auto& [factor, row] = term;
  if (row == nullptr) return {nullptr, kNotRun};
  if (!is_ok(*row)) return {nullptr, "failed"};
  const bool in_every_draw = is_full_precision(*row) && draws_of(*row).size() == 1;
  if (draws_of(*row) != draws && !in_every_draw) return {nullptr, "other draws"};
  const Clusters& own = clusters(*row);
  if (!own.reason.empty()) return {nullptr, own.reason};
  const auto found = own.of.find(metric);
  if (found == own.of.end()) return {nullptr, "not measured"};
  return {&found->second, ""};
}

std::pair<std::vector<ClusterSums>, std::string> Effects::sums_of(const std::vector<Term>& terms,
                                                                  const std::string& metric) {
  const std::vector<int64_t> draws = draws_behind(terms);
  std::vector<Part> parts;
  for (const Term& term : terms) {
    const auto [found, reason] = measured(term, metric, draws);
    if (found == nullptr) return {{}, reason};
    const std::string changed = changed_between(*term.row, *terms.front().row);
    if (!changed.empty()) return {{}, fmt::format("the {} changed between them; run both again", changed)};
    const auto same = [](const Cluster& a, const Cluster& b) {
      return a.group == b.group && a.scored == b.scored && a.weight == b.weight;
    };
    auto part =
        std::ranges::find_if(parts, [&](const Part& one) { return std::ranges::equal(*one.scored, *found, same); });
    if (part == parts.end()) {
      part = parts.insert(parts.end(), {found, 0, {}});
      for (const Cluster& cluster : *found)
        part->sums.push_back({cluster.weight, std::vector<double>(draws.size(), 0)});
    }
    part->factor += term.factor;
    for (std::size_t d = 0; d < found->size(); ++d) {
      const std::vector<double>& sum_R = (*found)[d].sum_R;
      for (std::size_t r = 0; r < draws.size(); ++r) {
        part->sums[d].sum_R[r] += term.factor * sum_R[sum_R.size() == 1 ? 0 : r];
      }
    }
  }
  if (parts.size() == 1) return {std::move(parts.front().sums), ""};
  const bool are_differences = std::ranges::all_of(parts, [](const Part& part) { return part.factor == 0; });
  if (!are_differences) return {{}, is_of_task(metric) ? "other questions" : "other windows"};
  const auto same_group = [](const Cluster& a, const Cluster& b) { return a.group == b.group; };
  for (const Part& part : parts) {
    if (!std::ranges::equal(*parts.front().scored, *part.scored, same_group)) return {{}, "other documents"};
  }
  return {joined(parts), ""};
}

std::vector<ClusterSums> Effects::joined(const std::vector<Part>& parts) {
  const std::size_t clusters = parts.front().sums.size();
  std::vector<ClusterSums> sums(clusters, {1, std::vector<double>(parts.front().sums.front().sum_R.size(), 0)});
  for (const Part& part : parts) {
    double weight = 0, sum = 0;
    for (const ClusterSums& cluster : part.sums) {
      weight += cluster.weight;
      sum += std::accumulate(cluster.sum_R.begin(), cluster.sum_R.end(), 0.0);
    }
    const double mean = sum / static_cast<double>(sums.front().sum_R.size()) / weight;
    const double unit = static_cast<double>(clusters) / weight;
    for (std::size_t d = 0; d < clusters; ++d) {
      const ClusterSums& own = part.sums[d];
      for (std::size_t r = 0; r < own.sum_R.size(); ++r) {
        sums[d].sum_R[r] += mean + unit * (own.sum_R[r] - mean * own.weight);
      }
    }
  }
  return sums;
}

Effect Effects::of(const std::vector<Term>& terms, const std::string& metric) {
  const auto [sums, reason] = sums_of(terms, metric);
  if (!reason.empty()) return {std::nullopt, reason};
  const Averaged averaged = !is_of_task(metric) ? Averaged::anything
                            : terms.size() == 1 ? Averaged::answers
                                                : Averaged::differences_of_answers;
  return {estimate(sums, averaged), ""};
}

Effect Effects::mean_of(const std::vector<std::vector<Term>>& alternatives, const std::string& metric) {
  std::vector<std::vector<ClusterSums>> all;
  for (const std::vector<Term>& terms : alternatives) {
    auto [sums, reason] = sums_of(terms, metric);
    if (!reason.empty()) return {std::nullopt, reason};
    if (!all.empty() && (sums.size() != all[0].size() || sums[0].sum_R.size() != all[0][0].sum_R.size()))
      return {std::nullopt, "other windows"};
    all.push_back(std::move(sums));
  }
  return all.empty() ? Effect{std::nullopt, kNotRun} : Effect{estimate_of_alternatives(all), ""};
}

}  // namespace qroar
