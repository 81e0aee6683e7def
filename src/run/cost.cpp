#include "run/cost.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/host.h"
#include "base/progress.h"
#include "ops/device.h"
#include "run/memory.h"
#include "run/shared_passes.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

/// Returns whether the cell's model will be streamed; here, where its device is here.
bool will_stream(const Cell& cell) {
  const ModelSpec& spec = cell.job->model.spec;
  if (spec.weights != LayerWeights::automatic) return spec.weights == LayerWeights::streamed;
  return (ops::names_cpu(spec.device) || ops::cuda_available()) && is_streamed(cell, ops::parse_device(spec.device));
}

/// Returns the paths of the rows of finished cells, the newest files first.
std::vector<fs::path> row_files(const fs::path& results) {
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code unreadable;
  for (const auto& folder : fs::directory_iterator(results, unreadable)) {
    for (const auto& cell : fs::directory_iterator(folder.path() / "cells", unreadable)) {
      const fs::path file = cell.path() / "row.json";
      const auto time = fs::last_write_time(file, unreadable);
      if (!unreadable) files.emplace_back(time, file);
    }
  }
  std::ranges::sort(files, std::greater<>());
  std::vector<fs::path> paths;
  for (auto& [time, file] : files) paths.push_back(std::move(file));
  return paths;
}

Json model_of(const Json& config) { return {value_at(config, "/model/path"), value_at(config, "/model/dtype")}; }

/// How fast rows were, in floating point operations per second.
struct Rate {
  double median = 0;
  bool is_of_model = false;  ///< of rows of the same model and dtype; else of any
};

/// Returns the rate of the last rows on a host (empty: any) in the first of the folders that has some: those of the
/// model of the cell that takes longest, since a small model's operations take many times as long as a large one's, or
/// of any where no folder has one of it.
std::optional<Rate> last_rate(const std::vector<Cell>& cells, const std::vector<fs::path>& results, bool cpu,
                              const std::string& host) {
  constexpr std::size_t kRows = 20, kMostRead = 500;
  const auto largest = std::ranges::max_element(cells, {}, [](const Cell& cell) { return cell.flops(); });
  if (largest == cells.end()) return std::nullopt;
  const Json model = model_of(largest->job->resolved);
  const auto median = [](std::vector<double>& rates) {
    std::ranges::sort(rates);
    return rates[rates.size() / 2];
  };
  std::optional<Rate> of_any;
  for (const fs::path& folder : results) {
    std::vector<double> own, any;
    std::size_t read = 0;
    for (const fs::path& file : row_files(folder)) {
      if (own.size() == kRows || ++read > kMostRead) break;
      const Json row = try_read_json_object(file).value_or(Json::object());
      const Json &rate = value_at(row, "/model_tflops_per_second"), &device = value_at(row, "/environment/device");
      const bool counts = rate.is_number() && rate.get<double>() > 0 && (device == Json("cpu")) == cpu &&
                          (host.empty() || value_at(row, "/environment/host") == Json(host));
      if (!counts) continue;
      if (any.size() < kRows) any.push_back(rate.get<double>() * 1e12);
      if (model_of(value_at(row, "/config")) == model) own.push_back(rate.get<double>() * 1e12);
    }
    if (!own.empty()) return Rate{median(own), true};
    if (!of_any && !any.empty()) of_any = Rate{median(any), false};
  }
  return of_any;
}

/// Returns "1,234,567".
std::string grouped(double number) {
  std::string digits = fmt::format("{:.0f}", number);
  for (auto place = std::ssize(digits) - 3; place > 0; place -= 3) digits.insert(static_cast<std::size_t>(place), ",");
  return digits;
}

/// Returns what tells a cell's search from others: cells that differ in their evaluation alone, and controls with the
/// scales that it found, share one.
std::string search_of(const Job& job) {
  Json rescale = job.resolved["rescale"];
  const SearchSpec& spec = job.method.search->spec;
  if (job.method.search->control != SearchControl::temperature) rescale.erase("control");
  rescale.erase("draw");
  for (const char* said_below : {"quantization", "rope"}) rescale["search"].erase(said_below);
  Json key{job.resolved["model"], rescale, job.search_quantization().key};
  for (const int64_t length : spec.lengths) {
    key.push_back(job.search_rope().table(job.search_geometry(), length).inv_freq);
  }
  return key.dump();
}

struct Cost {
  double windows = 0, tokens = 0, flops = 0, memory = 0;
  double alone = 0;  ///< operations that it would take more if no cells shared passes
  bool cpu = true, streams = false;
};

Cost total(const std::vector<Cell>& cells) {
  Cost cost;
  const Job* before = nullptr;
  std::set<std::string> searches;
  PassCount passes;
  for (const Cell& cell : longest_first(group_by_shared(cells))) {
    if (!cell.job->model.open_error.empty()) continue;
    cost.windows += static_cast<double>(cell.windows.size());
    for (const Window& window : cell.windows)
      cost.tokens += static_cast<double>(tokens_seen(window, cell.job->data.windows.feed));
    const double own = passes.flops(cell);
    cost.flops += own + cell.diagnostics_flops();
    cost.alone += cell.flops() - own;
    const bool calibrates = cell.calibration != nullptr && (before == nullptr || before->shared != cell.job->shared);
    if (calibrates) cost.flops += cell.calibration_flops();
    if (cell.job->method.search && searches.insert(search_of(*cell.job)).second) cost.flops += cell.search_flops();
    const bool streamed = will_stream(cell);
    cost.streams |= streamed;
    cost.memory = std::max(cost.memory, static_cast<double>(memory_bytes(cell, streamed)));
    cost.cpu = cost.cpu && ops::names_cpu(cell.job->model.spec.device);
    before = cell.job;
  }
  return cost;
}

}  // namespace

std::string cost_of(const std::vector<Cell>& cells, const std::vector<fs::path>& results) {
  const Cost cost = total(cells);
  std::string text =
      fmt::format("{} cells, {} windows of {} tokens, {:.3g} TFLOP; largest memory about {:.1f} GB", cells.size(),
                  grouped(cost.windows), grouped(cost.tokens), cost.flops / 1e12, cost.memory / 1e9);
  if (cost.alone > 0)
    text += fmt::format(" ({:.3g} TFLOP fewer, since windows begin longer ones of other cells)", cost.alone / 1e12);
  if (cost.streams) text += ", layers streamed";
  if (const auto rate = last_rate(cells, results, cost.cpu, host_name())) {
    text +=
        fmt::format("; about {} here, by the rate of this machine's last rows{}",
                    format_seconds(cost.flops / rate->median), rate->is_of_model ? "" : " of other models or dtypes");
  }
  return text;
}

std::size_t parts_of_hours(const std::vector<Cell>& cells, double hours, const std::string& device,
                           const fs::path& results) {
  const bool cpu = device == "cpu";
  const auto rate = last_rate(cells, {results}, cpu, "");
  if (!rate) {
    fail("--hours: no row under {} tells how fast {} is; run a cell there first, or say how many tasks",
         results.string(), cpu ? "a CPU" : "a GPU");
  }
  const double parts = std::ceil(total(cells).flops / rate->median / (3600 * hours));
  return static_cast<std::size_t>(std::clamp(parts, 1.0, std::max(1.0, static_cast<double>(cells.size()))));
}

}  // namespace qroar
