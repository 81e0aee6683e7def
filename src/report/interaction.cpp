#include "report/interaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "report/caption.h"
#include "report/differences.h"
#include "report/latex.h"
#include "report/pgfplots.h"
#include "report/row_axes.h"
#include "report/table.h"

namespace qroar {
namespace {

constexpr const char* kByPosition = "nll_by_position/";

/// One of the two axes, its levels in order of appearance, and the one that the others are compared with.
struct Factor {
  std::string axis;
  std::vector<std::string> levels;
  std::string reference;
};

/// Splits "AXIS[=LABEL],AXIS[=LABEL]" at the comma that leaves an axis on either side: labels may have commas, too.
std::pair<std::string, std::string> split(const std::vector<Json>& rows, const std::string& axes) {
  const std::vector<std::string> known = axis_names(rows);
  const auto begins_with_axis = [&](const std::string& text) {
    return std::ranges::find(known, text.substr(0, text.find_first_of("=,"))) != known.end();
  };
  std::size_t first = axes.npos;
  for (std::size_t comma = axes.find(','); comma != axes.npos; comma = axes.find(',', comma + 1)) {
    if (first == axes.npos) first = comma;
    const std::string rest = axes.substr(comma + 1);
    if (!begins_with_axis(rest)) continue;
    for (std::size_t next = rest.find(','); next != rest.npos; next = rest.find(',', next + 1)) {
      if (begins_with_axis(rest.substr(next + 1))) fail("--interaction {}: names three axes; write two", axes);
    }
    return {axes.substr(0, comma), rest};
  }
  if (first == axes.npos) fail("--interaction {}: write two axes, such as rope,quant", axes);
  return {axes.substr(0, first), axes.substr(first + 1)};
}

Factor factor_of(const std::vector<Json>& rows, const std::string& text) {
  const auto equals = text.find('=');
  Factor factor{text.substr(0, equals), levels_of(rows, text.substr(0, equals), "--interaction"), ""};
  if (factor.levels.size() < 2) {
    fail("--interaction {}: has one level ({}), and an interaction compares two", factor.axis, factor.levels.front());
  }
  factor.reference = equals == text.npos ? factor.levels.front() : text.substr(equals + 1);
  if (std::ranges::find(factor.levels, factor.reference) == factor.levels.end()) {
    fail("--interaction {}={}: no row has that value; its values are {}", factor.axis, factor.reference,
         fmt::join(factor.levels, " | "));
  }
  return factor;
}

struct Line {
  const Json* row;  ///< the row at both other levels
  std::string metric;
  std::string begin, end;  ///< of the part of the window, in tokens; empty: all of it
  Effect effect;
};

/// Rows that differ in the two axes alone (and in their calibration), by their levels.
using Block = std::map<std::pair<std::string, std::string>, std::vector<const Json*>>;

std::vector<Block> blocks_of(const std::vector<Json>& rows, const ComparedRows& compared, const Factor& a,
                             const Factor& b) {
  std::vector<Block> blocks;
  std::map<std::string, std::size_t> place;
  for (const Json& row : rows) {
    const auto [found, fresh] = place.emplace(compared.key(row), blocks.size());
    if (fresh) blocks.emplace_back();
    blocks[found->second][{level_of(row, a.axis), level_of(row, b.axis)}].push_back(&row);
  }
  return blocks;
}

/// Returns the metrics of a row that an interaction is printed for: means, and losses by position.
std::vector<std::string> metrics_of(Effects& effects, const Json& row) {
  std::vector<std::string> names;
  for (const std::string& name : effects.metrics(row)) {
    const auto metric = row["metrics"].find(name);
    const bool is_mean = metric != row["metrics"].end() && !metric->contains("link");
    if (is_mean || name.starts_with(kByPosition)) names.push_back(name);
  }
  if (names.empty()) names.emplace_back("nll");  // which says why there is none
  return names;
}

/// Adds a line for each metric of a row at other levels than the references'.
void add_lines(std::vector<Line>& lines, Effects& effects, const ComparedRows& compared, Block& block, const Json& row,
               const Factor& a, const Factor& b) {
  const std::string x = level_of(row, a.axis), y = level_of(row, b.axis);
  const auto at = [&](const std::string& one, const std::string& other) {
    return compared.counterpart(block[{one, other}], row);
  };
  for (const std::string& metric : metrics_of(effects, row)) {
    Line line{&row, metric, "", "", {}};
    if (metric.starts_with(kByPosition)) {
      const std::string place = metric.substr(std::string(kByPosition).size());
      line.metric = "nll";
      line.begin = place.substr(0, place.find('-'));
      line.end = place.substr(place.find('-') + 1);
    }
    line.effect = effects.of(
        {{1, &row}, {-1, at(a.reference, y)}, {-1, at(x, b.reference)}, {1, at(a.reference, b.reference)}}, metric);
    const bool is_elsewhere =
        !line.begin.empty() && line.effect.reason == "not measured";  // in windows of one length alone
    if (!is_elsewhere) lines.push_back(std::move(line));
  }
}

std::vector<Line> lines_of(Effects& effects, const std::vector<Json>& rows, const Factor& a, const Factor& b) {
  std::vector<Line> lines;
  const ComparedRows compared(rows, {a.axis, b.axis});
  for (Block& block : blocks_of(rows, compared, a, b)) {
    for (const std::string& x : a.levels) {
      for (const std::string& y : b.levels) {
        if (x == a.reference || y == b.reference) continue;
        for (const Json* row : block[{x, y}]) {
          if (is_ok(*row)) add_lines(lines, effects, compared, block, *row, a, b);
        }
      }
    }
  }
  return lines;
}

/// Throws an Error where nothing could be compared, with the reason of the first.
void check_any(const std::vector<Line>& lines, const std::string& axes) {
  if (lines.empty()) fail("--interaction {}: no row has other levels on both axes", axes);
  if (std::ranges::none_of(lines, [](const Line& line) { return line.effect.value.has_value(); })) {
    fail("--interaction {}: rows cannot be compared: {}", axes, lines.front().effect.reason);
  }
}

/// Returns whether a line has no effect because the sweep has no row to compare with.
bool is_not_run(const Line& line) { return line.effect.reason == kNotRun; }

Table table_of(const std::vector<Line>& lines, const std::vector<Json>& rows, bool by_position, bool for_programs) {
  const std::vector<std::string> axes = axis_names(rows);
  Table table{axes, {}, 1};
  table.header.emplace_back("metric");
  if (by_position) table.header.insert(table.header.end(), {"begin", "end"});
  table.label_columns = table.header.size();
  if (for_programs) {
    table.header.emplace_back("reason");
    for (const std::string& column : kEffectColumns) table.header.push_back("interaction" + column);
  } else {
    table.header.insert(table.header.end(), {"interaction", "detectable", "clusters", "draws"});
  }
  for (const Line& line : lines) {
    if (!for_programs && (line.begin.empty() == by_position || is_not_run(line))) continue;
    std::vector<std::string> cells;
    for (const std::string& axis : axes) cells.push_back(axis_cell(*line.row, axis));
    cells.push_back(line.metric);
    if (by_position) cells.insert(cells.end(), {line.begin, line.end});
    const std::optional<Estimate>& value = line.effect.value;
    const std::string& reason = line.effect.reason;
    if (for_programs) {
      cells.push_back(reason);
      if (value) {
        for (auto& cell : effect_csv(line.effect)) cells.push_back(std::move(cell));
      } else {
        cells.insert(cells.end(), kEffectColumns.size(), "");
      }
    } else if (value) {
      cells.insert(cells.end(), {effect_text(*value, line.effect.survives),
                                 std::isnan(value->detectable()) ? "" : fmt::format("{:.4f}", value->detectable()),
                                 std::to_string(value->clusters), std::to_string(value->draws)});
    } else {
      cells.insert(cells.end(), {reason, "", "", ""});
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

/// Returns the points of the effects over whole windows.
std::string pgfplots_of(const std::vector<Line>& lines, const std::vector<Json>& rows) {
  const std::string x = x_axis_of(rows);
  const bool with_names = need_names(rows, x);
  std::vector<FigurePoint> points;
  for (const Line& line : lines) {
    if (!line.begin.empty() || !line.effect.value) continue;
    const Estimate& value = *line.effect.value;
    points.push_back({place_of(*line.row, x, points.size()), line.metric + ", " + line_of(*line.row, x, with_names),
                      value.value, value.low(), value.high()});
  }
  return pgfplots_text(x, points);
}

Json json_of(const std::vector<Line>& lines, const Factor& a, const Factor& b) {
  Json list = Json::array();
  for (const auto& [row, metric, begin, end, effect] : lines) {
    Json one = effect.value ? effect_json(effect, "value") : Json{{"reason", effect.reason}};
    one["id"] = (*row)["id"];
    one["axes"] = (*row)["axes"];
    one["labels"] = Json::object();
    for (const auto& [axis, value] : (*row)["axes"].items()) one["labels"][axis] = axis_label(value);
    one["between"] = {{a.axis, a.reference}, {b.axis, b.reference}};
    one["metric"] = metric;
    if (!begin.empty()) one["positions"] = {std::stoll(begin), std::stoll(end)};
    list.push_back(std::move(one));
  }
  return list;
}

}  // namespace

std::string show_interaction(Effects& effects, const std::vector<Json>& rows, const std::string& axes,
                             const std::string& format, const std::string& left_out, const std::string& name) {
  const auto [first, second] = split(rows, axes);
  const Factor a = factor_of(rows, first), b = factor_of(rows, second);
  if (a.axis == b.axis) fail("--interaction {}: is one axis twice; name two", axes);
  std::vector<Line> lines = lines_of(effects, rows, a, b);
  check_any(lines, axes);
  std::vector<Effect*> compared;
  for (Line& line : lines) compared.push_back(&line.effect);
  const std::string counted = mark_survivors(compared);
  if (format == "pgfplots") return pgfplots_of(lines, rows);
  if (format == "json") return json_of(lines, a, b).dump(1) + "\n";
  if (format == "csv") return table_of(lines, rows, /*by_position=*/true, /*for_programs=*/true).render(format);
  std::vector<Table> tables{table_of(lines, rows, false, false)};
  Table positions = table_of(lines, rows, true, false);
  positions.title = "by position in the window (tokens)";
  if (!positions.rows.empty()) tables.push_back(std::move(positions));
  const std::string meaning = fmt::format(
      "; interaction: the difference against {}={}, less the same difference at {}={}; nats per token or points of the "
      "metric; detectable: the smallest effect that is found with a probability of 80 %; {}",
      a.axis, a.reference, b.axis, b.reference, counted);
  const auto not_run = std::ranges::count_if(lines, is_not_run);
  const std::string left = not_run == 0 ? "" : fmt::format("{} left out, whose counterparts were not run\n", not_run);
  const std::string note = caption(rows, meaning, /*of_values=*/false) + left + left_out;
  return format == "latex" ? latex_text(tables, note, name) : render(tables, format) + "\n" + note;
}

}  // namespace qroar
