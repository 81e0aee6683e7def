#include "run/diagnose.h"

#include <spdlog/spdlog.h>

#include <chrono>

#include "base/stop.h"
#include "results/results.h"

namespace qroar {

std::map<std::string, CsvTable> diagnose(const Cell& cell, const Llama& original, const Llama& full, const Llama& model,
                                         const AnglesOf& angles_of, Progress& progress) {
  const Job& job = *cell.job;
  const RescaledScheme scheme(*job.method.rope, *job.method.rescaling, job.method.geometry, original);
  std::map<std::string, CsvTable> tables;
  for (const auto& [type, diagnostic] : job.output.diagnostics) {
    const std::function<void()> on_window = [&, label = axis_label(job.axes) + ": " + type] {
      throw_if_stop_requested();
      progress.advance(0, label);
    };
    const auto start = std::chrono::steady_clock::now();
    tables[type] = diagnostic->run({full, model, job.method.quantization.plan, cell.data->documents, cell.windows,
                                    job.data.windows.feed, angles_of, scheme, job.method.geometry, on_window});
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    progress.clear();
    spdlog::info("cell {} {}: {:.1f} s", job.id, type, took.count());
  }
  return tables;
}

}  // namespace qroar
