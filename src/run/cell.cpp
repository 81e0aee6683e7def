#include "run/cell.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "model/packing.h"
#include "run/error_list.h"
#include "run/queue.h"
#include "search/spec.h"

namespace qroar {

double Cell::flops(const Window& window) const {
  const int64_t tokens = tokens_seen(window, job->data.windows.feed);
  const LlamaConfig& reference = job->model.reference ? job->model.reference->llama : job->model.config;
  return forward_flops(job->model.config, tokens) + (job->needs_reference() ? forward_flops(reference, tokens) : 0);
}

double Cell::flops() const {
  if (!job->model.open_error.empty()) return 0;  // its texts and questions were not loaded
  double sum = 0;
  for (const Window& window : windows) sum += flops(window);
  for (const auto& task : job->data.tasks) sum += task->flops(job->model.config);
  return sum;
}

double Cell::diagnostics_flops() const {
  if (windows.empty()) return 0;
  double forward = 0, sum = 0;
  for (const Window& window : windows)
    forward += forward_flops(job->model.config, tokens_seen(window, job->data.windows.feed));
  forward /= static_cast<double>(windows.size());
  for (const auto& [type, diagnostic] : job->output.diagnostics) {
    const DiagnosticWork work = diagnostic->work();
    sum += work.forwards * forward * static_cast<double>(std::min(work.windows, std::ssize(windows)));
  }
  return sum;
}

double Cell::calibration_flops() const {
  if (!job->model.open_error.empty()) return 0;
  const LlamaConfig& llama = job->model.config;
  double flops = forward_flops(llama, job->data.windows.length);
  if (calibration != nullptr) {
    flops += static_cast<double>(calibration->samples.size()) *
             forward_flops(llama, job->method.quantization.calibration->length);
  }
  return flops;
}

double Cell::search_flops() const {
  if (!job->model.open_error.empty() || !job->method.search) return 0;
  const auto& [spec, layout, control, draw] = *job->method.search;
  double document = 0;
  for (const int64_t length : spec.lengths) document += forward_flops(job->model.config, length);
  const auto dimensions = static_cast<std::size_t>(layout.size());
  const double forwards = spec.budget > 0 ? spec.budget : spec.strategy->most_forwards(dimensions, spec.grid.points);
  const double searches = control == SearchControl::temperature ? 2 : 1;  // its grid is as dear as the search before it
  return static_cast<double>(dev->documents.size()) * static_cast<double>(spec.folds) * document * forwards * searches;
}

int64_t Cell::longest() const {
  return std::max({kPackedTokens, job->data.tasks.empty() ? 0 : job->data.windows.length,
                   longest_seen(windows, job->data.windows.feed)});
}

void check_opened(const std::vector<Cell>& cells) {
  ErrorList errors;
  for (const Cell& cell : cells)
    cell.job->model.open_error.empty() ? errors.count_success() : errors.add(cell.job->model.open_error);
  errors.throw_if_any();
}

std::vector<Cell> group_by_shared(std::vector<Cell> cells) {
  std::map<std::pair<std::size_t, std::string>, std::size_t> first;  // where each value of Job::shared occurs first
  const auto place = [&](const Cell& cell) {
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < cell.job->shared.size(); ++i) {
      places.push_back(first.try_emplace({i, cell.job->shared[i]}, first.size()).first->second);
    }
    return places;
  };
  for (const Cell& cell : cells) place(cell);
  std::ranges::stable_sort(cells, {}, place);
  return cells;
}

std::vector<Cell> longest_first(std::vector<Cell> cells) {
  const auto of_one_model = [](const Cell& one, const Cell& other) { return one.job->shared == other.job->shared; };
  for (auto begin = cells.begin(); begin != cells.end();) {
    auto end = begin;
    while (end != cells.end() && of_one_model(*begin, *end)) ++end;
    std::stable_sort(begin, end, [](const Cell& one, const Cell& other) {
      return one.job->data.windows.length > other.job->data.windows.length;
    });
    begin = end;
  }
  return cells;
}

std::vector<std::vector<Cell>> packed_cells(std::vector<Cell> cells, std::size_t parts) {
  cells = group_by_shared(std::move(cells));
  std::vector<double> costs, joined;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const bool shares = i > 0 && cells[i].job->shared == cells[i - 1].job->shared;
    costs.push_back(cells[i].flops() + cells[i].diagnostics_flops() + (shares ? 0 : cells[i].setup_flops()));
    joined.push_back(shares ? cells[i].setup_flops() : 0);
  }
  std::vector<std::vector<Cell>> packed;
  for (const auto& [begin, end] : pack(costs, joined, parts)) {
    packed.emplace_back(cells.begin() + static_cast<std::ptrdiff_t>(begin),
                        cells.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return packed;
}

}  // namespace qroar
