#include "report/show.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/utf8.h"
#include "report/beside_axes.h"
#include "report/caption.h"
#include "report/differences.h"
#include "report/effects.h"
#include "report/field_formats.h"
#include "report/interaction.h"
#include "report/latex.h"
#include "report/over_draws.h"
#include "report/row_axes.h"
#include "report/row_tables.h"
#include "report/show_controls.h"
#include "report/show_programs.h"

namespace qroar {
namespace {

/// Returns the explanation of the differences.
std::string difference_note(const Differences& differences, const std::string& baseline) {
  if (differences.empty()) return "";
  return fmt::format(
      "; Δ: against {} over the same windows or questions, with 95 % intervals; detectable: the smallest effect that "
      "is "
      "found with a probability of 80 %; {}",
      baseline, differences.count_text());
}

/// Returns whether the row belongs to a cell of the plan; true for every row where there is no plan.
bool is_planned(const Json& row, const ShowOptions& options) {
  return !options.planned || options.planned->contains(row["id"].get<std::string>());
}

/// Restores infinity: a value that exceeds double is null in row.json, since JSON has no infinity (results/results.h).
void restore_infinity(Json& metrics) {
  for (auto& [name, metric] : metrics.items()) {
    if (metric.is_object() && metric.contains("value") && metric["value"].is_null()) metric["value"] = HUGE_VAL;
  }
}

/// Returns a label that says which layers each rule of `quant` is for; of other values, all that they contain.
std::string long_label(const Json& value) {
  const auto is_rule = [](const Json& item) { return item.is_object() && item.contains("match"); };
  if (!value.is_array() || value.empty() || !std::ranges::all_of(value, is_rule)) return value.dump();
  std::string label;
  for (Json rule : value) {
    rule.erase("name");
    label += fmt::format("{}{} in {}", label.empty() ? "" : " + ", axis_label(rule), axis_label(rule["match"]));
  }
  return label;
}

/// Gives values of an axis that have one label though they differ, such as one format in other layers, longer labels:
/// rows are told apart and compared by their labels.
void tell_apart(std::vector<Json>& rows) {
  for (const std::string& axis : axis_names(rows)) {
    std::map<std::string, std::set<std::string>> values;  // by label
    for (const Json& row : rows) {
      if (row["axes"].contains(axis)) values[axis_label(row["axes"][axis])].insert(row["axes"][axis].dump());
    }
    for (Json& row : rows) {
      if (!row["axes"].contains(axis)) continue;
      Json& value = row["axes"][axis];
      if (values[axis_label(value)].size() > 1) value = long_label(value);
    }
  }
}

/// Returns the rows for tables, with the values that distinguish them added to their axes.
std::vector<Json> for_tables(std::vector<Json> rows, const std::vector<Json>& beside) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const auto& [path, value] : beside[i].items()) rows[i]["axes"][path] = value;
    restore_infinity(rows[i]["metrics"]);
  }
  tell_apart(rows);
  return rows;
}

/// Makes the texts and keys of a value visible(): a results folder may come from others.
void make_visible(Json& value) {
  if (value.is_string()) {
    if (const auto& text = value.get_ref<const std::string&>(); !is_visible(text)) value = visible(text);
    return;
  }
  if (!value.is_structured()) return;
  for (Json& entry : value) make_visible(entry);
  if (value.is_array()) return;
  bool has_unseen = false;
  for (const auto& [key, entry] : value.items()) has_unseen = has_unseen || !is_visible(key);
  if (!has_unseen) return;
  Json seen = Json::object();
  for (const auto& [key, entry] : value.items()) seen[visible(key)] = entry;
  value = std::move(seen);
}

/// Returns what a table is named after in LaTeX: the folder, and what its rows are compared with.
std::string name_of(const Results& results, const std::string& compared) {
  const std::filesystem::path folder = std::filesystem::absolute(results.folder() / "").lexically_normal();
  return folder.parent_path().filename().string() + (compared.empty() ? "" : " " + compared);
}

}  // namespace

std::string left_out_note(std::size_t rows) {
  return rows == 1
             ? "1 row of a cell that the plan no longer has is left out; show --all has it"
             : fmt::format("{} rows of cells that the plan no longer has are left out; show --all has them", rows);
}

std::string show(const Results& results, const std::vector<Json>& all, const ShowOptions& options) {
  const bool is_run = options.format == "lm_eval";  // of which a mean over draws is none
  const bool is_json = is_run || options.format == "eee" || options.format == "json";
  std::vector<Json> kept;
  bool has_others = false;
  for (const Json& row : all) {
    const bool planned = is_planned(row, options);
    if (planned || options.all) kept.push_back(row);
    has_others = has_others || (!planned && options.all);
  }
  if (!is_json) std::ranges::for_each(kept, make_visible);
  const std::string note = kept.size() == all.size() ? "" : left_out_note(all.size() - kept.size());
  if (kept.empty()) fail("{}: no finished cells yet{}", results.folder().string(), note.empty() ? "" : "; " + note);
  if ((is_run || options.format == "eee") && !(options.baseline + options.interaction).empty()) {
    fail("--format {}: has no place for comparisons; leave out --baseline and --interaction", options.format);
  }
  Effects effects(results, all);
  if (!options.draws && !is_run) {
    // Cells that the plan no longer has are no draws of those that it has.
    const auto planned =
        std::ranges::stable_partition(kept, [&](const Json& row) { return !is_planned(row, options); });
    const auto moved = [](auto begin, auto end) {
      return std::vector<Json>(std::move_iterator(begin), std::move_iterator(end));
    };
    std::vector<Json> shown = over_draws(moved(kept.begin(), planned.begin()), effects);
    std::ranges::move(over_draws(moved(planned.begin(), planned.end()), effects), std::back_inserter(shown));
    kept = std::move(shown);
  }
  if (is_run) return lm_eval_text(results, kept);
  if (options.format == "eee") return eee_text(kept);
  std::vector<Json> beside = beside_axes(kept, has_others);
  for (std::size_t i = 0; i < kept.size() && has_others; ++i) beside[i]["planned"] = is_planned(kept[i], options);
  const std::vector<Json> rows = for_tables(kept, beside);
  if (!options.interaction.empty())
    return show_interaction(effects, rows, options.interaction, options.format, note.empty() ? "" : note + "\n",
                            name_of(results, options.interaction));
  const Baselines baselines = find_baselines(rows, options.baseline);
  const Differences differences(effects, rows, baselines);
  const std::string explained = caption(rows, difference_note(differences, options.baseline));
  if (options.format == "csv" || options.format == "pgfplots" || options.format == "json") {
    if (!note.empty()) spdlog::info("{}", note);
    if (options.format == "csv") return csv_text(rows, differences);
    if (options.format == "pgfplots") return pgfplots_text(rows, differences);
    return json_text(effects, kept, rows, beside, differences);
  }
  std::vector<Table> tables =
      row_tables(rows, differences, options.baseline.find('=') != std::string::npos, options.format == "latex");
  const Table controls = controls_table(effects, rows);
  const std::string under = explained + (note.empty() ? "" : note + "\n");
  if (options.format == "latex") {
    if (!controls.rows.empty()) tables.push_back(controls);
    return latex_text(tables, under, name_of(results, options.baseline));
  }
  const std::string text = render(tables, options.format) + "\n" + under;
  return controls.rows.empty() ? text : text + "\n" + render({controls}, options.format);
}

}  // namespace qroar
