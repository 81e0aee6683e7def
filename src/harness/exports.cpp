#include "harness/exports.h"

#include <spdlog/spdlog.h>

#include "base/files.h"
#include "model/export.h"

namespace qroar {
namespace {

const char* weights_of(const Job& job) { return job.exported->full_precision ? "full_precision" : "quantized"; }

}  // namespace

bool is_exported(const Job& job) {
  const std::filesystem::path marker = job.exported->folder / kExportMarker;
  if (!std::filesystem::exists(marker)) return false;
  const Json json = Json::parse(read_file(marker), nullptr, /*allow_exceptions=*/false);
  const auto made_by = json.is_object() ? json.value("provenance", Json::object()) : Json::object();
  return made_by.value("cell", "") == job.id && made_by.value("weights", "") == weights_of(job);
}

void export_cell(const Job& job, const Llama& original, const Rescaling& rescaling, const Llama& evaluated) {
  Llama model = evaluated;
  if (job.exported->full_precision) {
    model = original;
    rescaling.apply(model);
  }
  export_model(model, job.table(job.windows.length, original), job.llama.trained_length, job.windows.length,
               job.model.path, job.exported->folder,
               {{"cell", job.id}, {"weights", weights_of(job)}, {"config", job.resolved}});
  spdlog::info("cell {} exported to {}", job.id, job.exported->folder.string());
}

}  // namespace qroar
