#include "run/open_models.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "data/token_file.h"
#include "search/spec.h"

namespace qroar {
namespace {

/// Returns whether the program itself tokenizes a text of the job.
bool reads_text(const Job& job) {
  std::vector<const DataSpec*> data;
  if (job.data.text) data.push_back(&*job.data.text);
  for (const Quantization* quantization : {&job.method.quantization, &job.search_quantization()}) {
    if (quantization->calibration) data.push_back(&quantization->calibration->data);
  }
  if (const auto& search = job.method.search) data.push_back(&search->spec.data);
  return !job.data.tasks.empty() ||
         !std::ranges::all_of(data, [](const DataSpec* spec) { return is_token_file(spec->path); });
}

OpenedModel open(const Job& job) {
  OpenedModel opened;
  opened.weights = Checkpoint(job.model.spec).weights();
  opened.tokenizer_hash = tokenizer_hash(job.model.spec.path);
  if (job.resolved["model"]["dtype"] == "auto") {
    spdlog::info("{}: dtype auto is {} (config.json: {})", job.model.spec.path.string(),
                 dtype_text(job.model.spec.dtype), job.model.config.dtype.empty() ? "none" : job.model.config.dtype);
  }
  for (const std::string& warning : job.model.config.warnings)
    spdlog::warn("{}: {}", job.model.spec.path.string(), warning);
  return opened;
}

}  // namespace

void open_models(std::vector<Job>& jobs) {
  using Key = std::pair<std::filesystem::path, std::vector<std::string>>;
  std::map<Key, OpenedModel> opened;
  std::map<Key, std::string> failures;
  std::map<Key, WeightCounts> references;
  for (Job& job : jobs) {
    if (!job.model.open_error.empty()) continue;
    const Key key{job.model.spec.path, job.model.spec.ignore_tensors};
    try {
      if (const auto failure = failures.find(key); failure != failures.end()) throw Error(failure->second);
      if (!opened.contains(key)) opened[key] = open(job);
      OpenedModel& model = opened[key];
      if (model.tokenizer == nullptr && reads_text(job)) {
        model.tokenizer = load_tokenizer(job.model.spec.path);
        check_vocabulary(model.tokenizer->vocab_size(), job.model.spec.path, job.model.config);
      }
      job.model.opened = model;
      if (!job.model.reference) continue;
      const Key other{job.model.reference->path, job.model.reference->ignore_tensors};
      if (!references.contains(other)) references[other] = Checkpoint(*job.model.reference).weights();
      job.model.opened.reference_weights = references[other];
    } catch (const Error& error) {
      job.model.open_error = error.what();
      if (!job.model.reference) failures.emplace(key, job.model.open_error);
    }
  }
}

}  // namespace qroar
