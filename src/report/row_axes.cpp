#include "report/row_axes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "report/table.h"
#include "results/results.h"
#include "results/row_shape.h"

namespace qroar {

bool is_ok(const Json& row) { return row["status"] == "ok"; }

bool is_damaged(const Json& row) { return value_at(row, "/status") == "damaged"; }

bool has_text(const Json& row) { return row["config"].contains("data"); }

std::vector<std::string> axis_names(const std::vector<Json>& rows) {
  std::vector<std::string> names;
  for (const Json& row : rows) {
    for (const auto& [name, value] : row["axes"].items()) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

std::string json_pointer_of(const std::string& path) {
  std::string place = path.empty() ? "" : "/";
  for (const char c : path) {
    if (c == '~' || c == '/')
      place += c == '~' ? "~0" : "~1";
    else if (c != ']')
      place += c == '.' || c == '[' ? '/' : c;
  }
  return place;
}

bool has_default_stride(const Json& config) {
  const Json &length = value_at(config, "/windows/length"), &stride = value_at(config, "/windows/stride");
  if (!length.is_number_integer() || !stride.is_number_integer()) return false;
  // Windows that are scored each by itself and begin with BOS hold one token of the text less.
  const Json& score = value_at(config, "/windows/score");
  const bool holds_less = score.is_string() && score != "all" && value_at(config, "/windows/bos") == true;
  return stride.get<int64_t>() == length.get<int64_t>() - (holds_less ? 1 : 0);
}

std::string axis_cell(const Json& row, const std::string& name) {
  if (!row["axes"].contains(name)) return "";
  const std::string label = axis_label(row["axes"][name]);
  return name == "quant" ? with_imported(row, label) : label;
}

std::string with_imported(const Json& row, const std::string& quantizer) {
  const Json& imported = value_at(row, "/environment/imported/label");
  if (!imported.is_string() || quantizer.starts_with(imported.get_ref<const std::string&>())) return quantizer;
  return imported.get<std::string>() + (quantizer == "none" ? "" : " + " + quantizer);
}

std::vector<std::string> size_names(const std::vector<Json>& rows) {
  std::vector<std::string> names;
  for (const char* name : {"bits_per_weight", "bits_per_cached_value"}) {
    std::set<std::string> sizes;
    for (const Json& row : rows) sizes.insert(size_cell(row, name));
    sizes.erase("");
    if (sizes.size() > 1) names.emplace_back(name);
  }
  return names;
}

std::string size_cell(const Json& row, const std::string& name) {
  const Json& bits = value_at(row, "/" + name);
  return bits.is_number() ? fmt::format("{:.4g}", bits.get<double>()) : "";
}

namespace {

/// Returns whether the rows have one level on an axis, or one of them none.
bool share_level(const Json& a, const Json& b, const std::string& axis) {
  const std::string own = level_of(a, axis), other = level_of(b, axis);
  return own.empty() || other.empty() || own == other;
}

/// Returns the places beside an axis that belong to its levels: keys that rows have at some of its levels alone, and
/// with one value at each.
std::vector<Json::json_pointer> keys_of_levels(const std::vector<Json>& rows, const std::string& axis) {
  const Json::json_pointer parent = Json::json_pointer(json_pointer_of(axis)).parent_pointer();
  if (parent.empty()) return {};
  std::map<std::string, std::map<std::string, std::set<Json>>> values;  // of a key at a level, null where it is absent
  std::vector<std::pair<std::string, const Json*>> parents;
  for (const Json& row : rows) {
    const Json& own = value_at(row["config"], parent.to_string());
    if (!own.is_object()) continue;
    parents.emplace_back(level_of(row, axis), &own);
    for (const auto& [key, value] : own.items()) values[key];
  }
  std::vector<Json::json_pointer> found;
  for (auto& [key, by_level] : values) {
    bool is_everywhere = true;
    for (const auto& [level, own] : parents) {
      const bool has = own->contains(key);
      by_level[level].insert(has ? (*own)[key] : Json());
      is_everywhere = is_everywhere && has;
    }
    const auto is_one = [](const auto& level) { return level.second.size() == 1; };
    if (!is_everywhere && std::ranges::all_of(by_level, is_one)) found.push_back(parent / key);
  }
  return found;
}

}  // namespace

ComparedRows::ComparedRows(const std::vector<Json>& rows, const std::vector<std::string>& axes) {
  const std::vector<std::string> swept = axis_names(rows);
  for (const std::string& axis : axes) {
    const bool is_swept = std::ranges::find(swept, axis) != swept.end();
    const auto is_below = [&](const std::string& other) {
      return is_swept && json_pointer_of(other).starts_with(json_pointer_of(axis) + "/");
    };
    std::ranges::copy_if(swept, std::back_inserter(below_), is_below);
    axes_.emplace_back(json_pointer_of(axis));
    for (Json::json_pointer& place : keys_of_levels(rows, axis)) of_levels_.push_back(std::move(place));
  }
}

void ComparedRows::erase_axes(Json& config) const {
  if (has_default_stride(config) && std::ranges::find(axes_, Json::json_pointer("/windows/length")) != axes_.end()) {
    config["windows"]["stride"] = nullptr;
  }
  for (const Json::json_pointer& axis : axes_) {
    if (config.contains(axis)) config[axis] = nullptr;
  }
  for (const Json::json_pointer& place : of_levels_) {
    if (config.contains(place)) config[place.parent_pointer()].erase(place.back());
  }
}

Json ComparedRows::calibration(const Json& row) const {
  Json config = {{"calibration", value_at(row["config"], "/calibration")}};
  erase_axes(config);
  return config["calibration"];
}

std::string ComparedRows::key(const Json& row) const {
  Json config = row["config"];
  erase_axes(config);
  config.erase("calibration");
  return config.dump();
}

const Json* ComparedRows::counterpart(const std::vector<const Json*>& candidates, const Json& row) const {
  const Json own = calibration(row);
  std::vector<const Json*> equal;
  std::map<Json, const Json*> others;
  for (const Json* candidate : candidates) {
    if (!std::ranges::all_of(below_, [&](const std::string& axis) { return share_level(*candidate, row, axis); }))
      continue;
    Json other = calibration(*candidate);
    if (other == own)
      equal.push_back(candidate);
    else if (own.is_null() || other.is_null())
      others.emplace(std::move(other), candidate);
  }
  if (std::ranges::any_of(equal, [](const Json* one) { return is_ok(*one); })) {
    std::erase_if(equal, [](const Json* one) { return !is_ok(*one); });
  }
  if (!equal.empty()) return equal.size() == 1 || !is_ok(*equal.front()) ? equal.front() : nullptr;
  return others.size() == 1 ? others.begin()->second : nullptr;
}

std::string level_of(const Json& row, const std::string& axis) {
  if (row["axes"].contains(axis)) return axis_label(row["axes"][axis]);
  const Json& value = value_at(row["config"], json_pointer_of(axis));
  return value.is_null() ? "" : axis_label(value);
}

std::vector<std::string> levels_of(const std::vector<Json>& rows, const std::string& axis, const std::string& option) {
  std::vector<std::string> labels;
  for (const Json& row : rows) {
    std::string own = level_of(row, axis);
    if (!own.empty() && std::ranges::find(labels, own) == labels.end()) labels.push_back(std::move(own));
  }
  const auto is_mean = [](const Json& row) { return row.contains("draws"); };
  if (labels.empty() && axis.starts_with("rounding") && std::ranges::any_of(rows, is_mean)) {
    fail("{} {}: rows are means over rounding draws; `show --draws` shows each draw", option, axis);
  }
  if (labels.empty()) {
    const std::vector<std::string> known = axis_names(rows);
    const std::string guess = nearest(axis, known);
    fail("{} {}: no axis '{}'{}; the axes are {}", option, axis, axis,
         guess.empty() ? "" : fmt::format("; did you mean '{}'?", guess), fmt::join(known, ", "));
  }
  return labels;
}

namespace {

const Json& find_row(const std::vector<Json>& rows, const std::string& id) {
  std::vector<const Json*> found;
  for (const Json& row : rows) {
    if (row["id"].get<std::string>().starts_with(id)) found.push_back(&row);
  }
  if (found.size() != 1)
    fail("--baseline {}: {} rows have an id that begins so; `show` with --format csv lists the ids", id, found.size());
  if (!is_ok(*found.front())) fail("--baseline {}: that cell failed", id);
  return *found.front();
}

/// Returns, for each row, the row that differs from it in `axis` alone, where its label is `label`.
Baselines find_by_axis(const std::vector<Json>& rows, const std::string& axis, const std::string& label) {
  const std::vector<std::string> labels = levels_of(rows, axis, "--baseline");
  if (std::ranges::find(labels, label) == labels.end()) {
    fail("--baseline {}={}: no row has that value; its values are {}", axis, label, fmt::join(labels, " | "));
  }
  const ComparedRows compared(rows, {axis});
  std::map<std::string, std::vector<const Json*>> candidates;
  for (const Json& row : rows) {
    if (level_of(row, axis) == label) candidates[compared.key(row)].push_back(&row);
  }
  Baselines found;
  for (const Json& row : rows) found.push_back(compared.counterpart(candidates[compared.key(row)], row));
  return found;
}

}  // namespace

Baselines find_baselines(const std::vector<Json>& rows, const std::string& baseline) {
  if (baseline.empty()) return {};
  const auto equals = baseline.find('=');
  if (equals == std::string::npos) return Baselines(rows.size(), &find_row(rows, baseline));
  return find_by_axis(rows, baseline.substr(0, equals), baseline.substr(equals + 1));
}

std::string metric_text(const Json& row, const std::string& metric) {
  if (!is_ok(row)) return row["status"];
  if (!row["metrics"].contains(metric)) return "";
  const auto number = [&](const char* place) {
    const Json& value = value_at(row["metrics"][metric], place);
    return value.is_number() ? value.get<double>() : std::nan("");
  };
  return with_interval(number("/value"), number("/low"), number("/high"));
}

}  // namespace qroar
