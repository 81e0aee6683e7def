#include "run/open_models.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "data/token_file.h"
#include "search/spec.h"

namespace qroar {
namespace {

/// Is there text that the program itself makes tokens of?
bool reads_text(const Job& job) {
  std::vector<const DataSpec*> data;
  if (job.data) data.push_back(&*job.data);
  for (const Quantization* quantization : {&job.quantization, &job.search_quantization()}) {
    if (quantization->calibration) data.push_back(&quantization->calibration->data);
  }
  if (const BandSearch* search = job.rescaling->search()) data.push_back(&search->spec.data);
  return !job.tasks.empty() ||
         !std::ranges::all_of(data, [](const DataSpec* spec) { return is_token_file(spec->path); });
}

OpenedModel open(const Job& job) {
  OpenedModel opened;
  opened.weights = Checkpoint(job.model).weights();
  opened.tokenizer_hash = tokenizer_hash(job.model.path);
  if (job.resolved["model"]["dtype"] == "auto") {
    spdlog::info("{}: dtype auto is {} (config.json: {})", job.model.path.string(), dtype_text(job.model.dtype),
                 job.llama.dtype.empty() ? "none" : job.llama.dtype);
  }
  for (const std::string& warning : job.llama.warnings) spdlog::warn("{}: {}", job.model.path.string(), warning);
  return opened;
}

}  // namespace

void open_models(std::vector<Job>& jobs) {
  using Key = std::pair<std::filesystem::path, std::vector<std::string>>;
  std::map<Key, OpenedModel> opened;
  std::map<Key, std::string> failures;
  std::set<std::filesystem::path> references;
  for (Job& job : jobs) {
    if (!job.unopened.empty()) continue;
    const Key key{job.model.path, job.model.ignore_tensors};
    try {
      if (const auto failure = failures.find(key); failure != failures.end()) throw Error(failure->second);
      if (!opened.contains(key)) opened[key] = open(job);
      OpenedModel& model = opened[key];
      if (model.tokenizer == nullptr && reads_text(job)) {
        model.tokenizer = load_tokenizer(job.model.path);
        check_vocabulary(model.tokenizer->vocab_size(), job.model.path, job.llama);
      }
      job.opened = model;
      if (job.reference && references.insert(job.reference->path).second) Checkpoint{*job.reference};
    } catch (const Error& error) {
      job.unopened = error.what();
      if (!job.reference) failures.emplace(key, job.unopened);
    }
  }
}

}  // namespace qroar
