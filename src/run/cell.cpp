#include "run/cell.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"
#include "model/packing.h"
#include "ops/device.h"
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

int64_t forward_bytes(const Cell& cell) {
  const auto element_size = static_cast<int64_t>(c10::elementSize(cell.job->model.spec.dtype));
  const int64_t tokens = cell.longest(), cached = cell.job->data.tasks.empty() ? 0 : cell.job->data.windows.length;
  int64_t forward = forward_bytes(cell.job->model.config, tokens, element_size);
  if (const auto& reference = cell.job->model.reference) {
    const auto size = static_cast<int64_t>(c10::elementSize(reference->dtype));
    forward = std::max(forward, forward_bytes(reference->llama, tokens, size));
  }
  return forward + cache_bytes(cell.job->model.config, cached, element_size);
}

int64_t memory_bytes(const Cell& cell, bool streamed) {
  const Job& job = *cell.job;
  const LlamaConfig& config = job.model.config;
  const Json& key = job.method.quantization.key;
  const Json none = {{"type", "none"}};
  const bool changed = job.method.search || !job.method.rescaling->weights_key().is_null() ||
                       !key.value("quant", Json::array()).empty() || key.value("rotation", none) != none;
  const int64_t ends = config.vocab_size * config.hidden_size * (config.tie_word_embeddings ? 1 : 2);
  const int64_t layer = (job.model.opened.weights - ends) / config.num_hidden_layers;
  const int64_t weights = streamed ? ends + 2 * layer : job.model.opened.weights * (changed ? 2 : 1);
  return weights * static_cast<int64_t>(c10::elementSize(job.model.spec.dtype)) + forward_bytes(cell);
}

bool is_streamed(const Cell& cell, const at::Device& device) {
  const Job& job = *cell.job;
  if (job.model.spec.weights != LayerWeights::automatic) return job.model.spec.weights == LayerWeights::streamed;
  static std::map<std::string, int64_t> free_at_first;
  const int64_t available = free_at_first.try_emplace(device.str(), ops::available_bytes(device)).first->second;
  return job.needs_resident_weights().empty() && memory_bytes(cell, false) > available;
}

void check_memory(const Cell& cell, const at::Device& device, bool streamed) {
  const int64_t needed = streamed ? memory_bytes(cell, true) : forward_bytes(cell);
  const int64_t available = ops::available_bytes(device);
  if (needed > available) {
    fail(
        "a window of {} tokens needs about {:.1f} GiB {} and {} has {:.1f} GiB free; take a smaller windows.length or "
        "another device",
        cell.longest(), static_cast<double>(needed) / 0x1p30,
        streamed ? "with streamed weights (embeddings, head and two layers)" : "beside the weights", device.str(),
        static_cast<double>(available) / 0x1p30);
  }
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
    costs.push_back(cells[i].flops() + (shares ? 0 : cells[i].setup_flops()));
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
