#include "harness/cell.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "harness/queue.h"
#include "model/packing.h"
#include "ops/device.h"
#include "search/spec.h"

namespace qroar {
namespace {

/// Tokens by whose equality two documents count as one, wherever either was cut.
constexpr std::size_t kDocumentHead = 512;

/// An Error when a document is both searched on and evaluated.
void check_disjoint(const Job& job, const Dataset& dev, const Dataset& evaluated) {
  const auto head = [](const Document& document) {
    const std::size_t tokens = std::min(document.tokens.size(), kDocumentHead);
    return std::string(reinterpret_cast<const char*>(document.tokens.data()), tokens * sizeof(document.tokens[0]));
  };
  std::map<std::string, std::string> ids;
  for (const Document& document : evaluated.documents) ids.emplace(head(document), document.id);
  for (const Document& document : dev.documents) {
    const auto found = ids.find(head(document));
    if (found == ids.end()) continue;
    fail(
        "{}: document '{}' of rescale.search.data is evaluated, too (as '{}'); scales must be searched on other "
        "documents, set skip or "
        "documents in either block",
        job.rescaling->search()->spec.data.path.string(), document.id, found->second);
  }
}

}  // namespace

double Cell::flops(const Window& window) const {
  const int64_t tokens = tokens_seen(window, job->windows.feed);
  const LlamaConfig& reference = job->reference ? job->reference->llama : job->llama;
  return forward_flops(job->llama, tokens) + (job->needs_reference() ? forward_flops(reference, tokens) : 0);
}

double Cell::flops() const {
  double sum = 0;
  for (const Window& window : windows) sum += flops(window);
  for (const auto& task : job->tasks) sum += task->flops(job->llama);
  return sum;
}

double Cell::setup_flops() const {
  const auto forward_of = [&](int64_t tokens) { return forward_flops(job->llama, tokens); };
  double flops = forward_of(job->windows.length);
  if (calibration != nullptr)
    flops += static_cast<double>(calibration->samples.size()) * forward_of(job->quantization.calibration->length);
  if (const BandSearch* search = job->rescaling->search()) {
    constexpr double kForwards = 100;
    double forwards = 0;
    for (const int64_t length : search->spec.lengths) forwards += forward_of(length);
    flops += static_cast<double>(dev->documents.size()) * forwards *
             (search->spec.budget > 0 ? search->spec.budget : kForwards);
  }
  return flops;
}

int64_t Cell::longest() const {
  return std::max(
      {kPackedTokens, job->tasks.empty() ? 0 : job->windows.length, longest_seen(windows, job->windows.feed)});
}

std::vector<Cell> plan(std::vector<Job>& jobs) {
  std::map<std::pair<std::string, std::string>, Dataset> corpora;  // by file and model
  std::map<std::string, std::shared_ptr<const Dataset>> loaded;
  std::map<std::tuple<const Dataset*, bool, Bos>, std::shared_ptr<const Dataset>> read;
  const auto read_by = [&](const Job& job, const std::shared_ptr<const Dataset>& chosen) {
    const WindowRule& rule = job.windows;
    if (!rule.concatenate && rule.feed.bos != Bos::start && rule.feed.bos != Bos::replace) return chosen;
    auto& data = read[{chosen.get(), rule.concatenate, rule.feed.bos}];
    if (data == nullptr)
      data = std::make_shared<const Dataset>(as_read_by(rule, *chosen, job.llama.bos_token_id.value()));
    return data;
  };
  load_tasks(jobs);
  std::vector<Cell> cells;
  for (Job& job : jobs) {
    const auto load = [&](const DataSpec& spec, const Json& resolved) {
      auto& data = loaded[resolved.dump() + job.model.path.string()];
      if (data == nullptr) {
        const auto [corpus, fresh] = corpora.try_emplace({spec.path.string(), job.model.path.string()});
        if (fresh) corpus->second = load_corpus(spec.path, job.model.path, job.llama);
        data = std::make_shared<const Dataset>(choose_documents(corpus->second, spec));
      }
      return data;
    };
    std::shared_ptr<const Dataset> chosen, data;
    std::vector<int64_t> lengths;
    if (job.data) {
      chosen = load(*job.data, job.resolved["data"]);
      data = read_by(job, chosen);
      for (const Document& document : data->documents) lengths.push_back(std::ssize(document.tokens));
    }
    std::vector<Window> windows = windows_of(lengths, job.windows);
    if (job.data && windows.empty())
      fail(
          "{}: no document has a token to score: the longest has {}, too few for these windows; set a smaller "
          "windows.length",
          job.data->path.string(), std::ranges::max(lengths));
    for (const auto& metric : job.metrics) metric->check(data->documents, windows);
    const auto draw = [&](const Quantization& quantization) {
      if (!quantization.calibration) return std::shared_ptr<const CalibrationText>();
      const auto texts = load(quantization.calibration->data, quantization.key["calibration"]["data"]);
      return std::make_shared<const CalibrationText>(draw_samples(texts->documents, *quantization.calibration));
    };
    cells.push_back({&job, data, std::move(windows), draw(job.quantization), nullptr, nullptr});
    if (const BandSearch* search = job.rescaling->search()) {
      cells.back().dev = load(search->spec.data, job.resolved["rescale"]["search"]["data"]);
      cells.back().dev_calibration = draw(job.search_quantization());
      if (chosen != nullptr) check_disjoint(job, *cells.back().dev, *chosen);
    }
  }
  return cells;
}

void check_memory(const Cell& cell, const at::Device& device) {
  const int64_t tokens = cell.longest();
  const auto element_size = static_cast<int64_t>(c10::elementSize(cell.job->model.dtype));
  const int64_t cached = cell.job->tasks.empty() ? 0 : cell.job->windows.length;
  int64_t forward = forward_bytes(cell.job->llama, tokens, element_size);
  if (const auto& reference = cell.job->reference) {
    const auto size = static_cast<int64_t>(c10::elementSize(reference->dtype));
    forward = std::max(forward, forward_bytes(reference->llama, tokens, size));
  }
  const int64_t needed = forward + cache_bytes(cell.job->llama, cached, element_size);
  const int64_t available = ops::available_bytes(device);
  if (needed > available) {
    fail(
        "a window of {} tokens needs about {:.1f} GiB beside the weights and {} has {:.1f} GiB free; take a smaller "
        "windows.length or another device",
        tokens, static_cast<double>(needed) / 0x1p30, device.str(), static_cast<double>(available) / 0x1p30);
  }
}

std::vector<Cell> with_sharing_neighbours(std::vector<Cell> cells) {
  std::map<std::pair<std::size_t, std::string>, std::size_t> first;  // where a value of Job::shared occurs first
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

std::vector<std::vector<Cell>> packed_cells(std::vector<Cell> cells, std::size_t parts) {
  cells = with_sharing_neighbours(std::move(cells));
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
