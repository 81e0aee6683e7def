#include "run/measure_windows.h"

#include <deque>

namespace qroar {
namespace {

/// Returns the model that the job's metrics compare with; empty where none does.
Llama reference_of(const Job& job, Models& models, const at::Device& device) {
  if (job.model.reference) return models.reference(*job.model.reference, device);
  return job.needs_reference() ? models.full(job.method.quantization) : Llama();
}

AnglesOf reference_angles(const Job& job, const Llama& reference, const AnglesOf& evaluated) {
  if (!job.model.reference) return evaluated;
  return cached_angles([&job](int64_t length) { return job.model.reference->table(length); }, reference.embed_tokens_VD,
                       job.model.spec.bfloat16_rope);
}

std::vector<WindowRecord> records_of(const std::vector<WindowLoss>& losses, const std::vector<Document>& documents) {
  std::vector<WindowRecord> records;
  for (const auto& [window, nll] : losses) {
    const Document& document = documents[static_cast<std::size_t>(window.document)];
    records.push_back({document.id, window.begin, nll, document.cluster()});
  }
  return records;
}

}  // namespace

Measured measure_windows(const Cell& cell, Models& models, const Llama& model, const AnglesOf& angles_of,
                         PartialCell& partial, const std::vector<CompanionCell>& companions, const Advance& advance) {
  const Llama reference = reference_of(*cell.job, models, model.embed_tokens_VD.device());
  std::deque<Metrics> metrics;
  std::deque<AnglesOf> angles_of_references;
  std::deque<ReferenceModel> references;
  const auto input_of = [&](const Cell& one, const AnglesOf& angles) {
    metrics.push_back(one.job->output.make_metrics());
    angles_of_references.push_back(reference_angles(*one.job, reference, angles));
    references.push_back({reference, angles_of_references.back()});
    return EvaluationInput{model,       one.job->needs_reference() ? &references.back() : nullptr,
                           angles,      one.data->documents,
                           one.windows, one.job->data.windows.feed};
  };
  const EvaluationInput input = input_of(cell, angles_of);
  std::vector<Companion> others;
  for (const CompanionCell& other : companions) {
    const EvaluationInput own = input_of(other.cell, other.angles_of);
    others.push_back({own, metrics.back(), *other.store});
  }
  const std::vector<WindowLoss> losses = evaluate(input, metrics.front(), &partial, others, advance);
  double tokens = 0, flops = 0;
  for (const Window& window : cell.windows) {
    tokens += static_cast<double>(tokens_seen(window, input.feed));
    flops += cell.flops(window);
  }
  const double seconds = partial.seconds("window/");
  Measured measured;
  measured.row["seconds"] = seconds;
  measured.row["tokens_per_second"] = tokens / seconds;
  measured.row["model_tflops_per_second"] = flops / seconds / 1e12;
  measured.output.windows = records_of(losses, input.documents);
  for (const auto& metric : metrics.front()) {
    measured.add(metric->values(cell.job->data.windows.aggregate, input.documents));
    if (auto curve = metric->curve(input.documents)) {
      measured.add_clusters(curve->points);
      measured.output.curves.emplace(curve->name, std::move(curve->table));
    }
  }
  return measured;
}

}  // namespace qroar
