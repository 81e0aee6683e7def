#include "report/sweep_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/progress.h"
#include "base/utf8.h"
#include "report/table.h"
#include "results/claims.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

/// Returns the seconds since 1970 of a text of utc_now().
double seconds_of(const std::string& utc) {
  std::tm time = {};
  strptime(utc.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
  return static_cast<double>(timegm(&time));
}

double age(const std::string& utc) { return static_cast<double>(std::time(nullptr)) - seconds_of(utc); }

/// The work of finished and running cells, and the time that one process took for it.
struct Pace {
  double flops = 0, seconds = 0;

  void add(double more_flops, double more_seconds) {
    if (more_flops <= 0 || more_seconds <= 0) return;
    flops += more_flops;
    seconds += more_seconds;
  }
};

}  // namespace

SweepState sweep_state(const Results& results) {
  SweepState state;
  const std::optional<Json> plan = results.plan();
  // Before the rows: a cell that ends meanwhile has both.
  const std::map<std::string, Json> claims = plan ? Claims(results.folder()).look() : std::map<std::string, Json>{};
  state.rows = results.rows();
  if (!plan) return state;
  state.planned.emplace();
  std::map<std::string, const Json*> rows;
  for (const Json& row : state.rows) rows.emplace(row["id"], &row);
  Table table{{"cell", "", "process", "state", "since"}, {}, 5};
  const auto put = [&](const Json& cell, const std::string& process, const std::string& what,
                       const std::string& since) {
    table.rows.push_back({cell["id"], visible(axis_label(cell["axes"])), visible(process), what, visible(since)});
  };
  Pace pace;
  double left = 0;
  for (const Json& cell : (*plan)["cells"]) {
    const std::string id = cell["id"];
    const double flops = cell["flops"];
    ++state.cells;
    state.planned->insert(id);
    const auto finished = rows.find(id);
    const Json* row = finished == rows.end() ? nullptr : finished->second;
    const auto found = claims.find(id);
    const Json* claim = found == claims.end() ? nullptr : &found->second;
    const bool quiet = claim != nullptr && (*claim)["silent"] > 1e-3 * static_cast<double>(Claims::kSilence.count());
    if (row != nullptr && claim != nullptr && (quiet || (*claim)["dead"] == true)) claim = nullptr;  // left over
    if (claim != nullptr) {
      const Json& owner = *claim;
      const std::string process = fmt::format("{}:{}", owner["host"].get<std::string>(), owner["pid"].dump());
      const double done = std::clamp(owner["done"].get<double>(), 0.0, 1.0), silent = owner["silent"];
      left += flops * (1 - done);
      if (owner["dead"] == true) {
        put(cell, process, "gone; the next process takes it over", owner["since"]);
        ++state.waiting;
        continue;
      }
      ++state.running;
      put(cell, process,
          quiet ? fmt::format("no sign of life for {}", format_seconds(silent)) : fmt::format("{:.0f} %", 100 * done),
          owner["since"]);
      pace.add(flops * done, age(owner["since"]));
    } else if (row == nullptr) {
      ++state.waiting;
      left += flops;
    } else if ((*row)["status"] == "ok") {
      ++state.done;
      const Json &started = value_at(*row, "/environment/started"), &ended = value_at(*row, "/environment/ended"),
                 &seconds = value_at(*row, "/seconds");
      if (started.is_string() && ended.is_string())
        pace.add(flops,
                 std::max(seconds_of(ended) - seconds_of(started), seconds.is_number() ? seconds.get<double>() : 0));
    } else {
      ++state.failed;
    }
  }
  state.text = fmt::format("{} cells: {} done, {} running, {} failed, {} waiting", state.cells, state.done,
                           state.running, state.failed, state.waiting);
  if (left > 0 && pace.flops > 0) {
    const double seconds = left / pace.flops * pace.seconds;
    state.text += state.running > 0
                      ? fmt::format("; about {} left", format_seconds(seconds / static_cast<double>(state.running)))
                      : fmt::format("; about {} of one process left, and none is running", format_seconds(seconds));
  }
  state.text += "\n";
  if (!table.rows.empty()) state.text += table.render("table");
  return state;
}

}  // namespace qroar
