#include "run/inputs.h"

#include "base/hash.h"

namespace qroar {
namespace {

/// Returns the hash of a scheme's table for windows of `length` tokens or, where it depends on the length, of those on
/// either side of the trained length, too: a file of factors has a list for each, and shorter windows need the other.
std::string hash_of_tables(const RopeScheme& scheme, const RopeGeometry& geometry, int64_t length) {
  const RopeTable table = scheme.table(geometry, length);
  Json all = {table.inv_freq, table.attention_factor};
  bool is_one = true;
  for (const int64_t other : {geometry.trained_length, geometry.trained_length + 1}) {
    const RopeTable there = scheme.table(geometry, other);
    is_one = is_one && there == table;
    all.push_back({there.inv_freq, there.attention_factor});
  }
  return hash_bytes(is_one ? Json(table.inv_freq).dump() : all.dump());
}

}  // namespace

Json inputs_of(const Cell& cell, Models& models) {
  const Job& job = *cell.job;
  const int64_t length = job.data.windows.length;
  Json inputs{{"model", models.hash(job)}, {"tokenizer", job.model.opened.tokenizer_hash}};
  models.check_config(job);
  if (cell.data != nullptr) inputs["data"] = cell.data->hash;
  if (const auto& reference = job.model.reference) {
    inputs["reference"] = models.reference_hash(*reference);
    inputs["reference_rope"] = hash_of_tables(*reference->rope, reference->geometry, length);
  }
  if (!job.model.config.imported.is_null()) inputs["imported"] = hash_bytes(job.model.config.imported.dump());
  inputs["rope"] = hash_of_tables(*job.method.rope, job.method.geometry, length);
  for (const auto& task : job.data.tasks) inputs["tasks"].push_back(task->hash());
  if (cell.calibration != nullptr) inputs["calibration"] = cell.calibration->hash;
  if (cell.dev != nullptr) inputs["dev"] = cell.dev->hash;
  if (job.method.search_rope) {
    const RopeGeometry geometry = job.search_geometry();
    inputs["dev_rope"] = hash_of_tables(job.search_rope(), geometry, geometry.target_length);
  }
  if (cell.dev_calibration != nullptr) inputs["dev_calibration"] = cell.dev_calibration->hash;
  const Json scales = job.method.rescaling->weights_key();
  if (!scales.is_null()) inputs["scales"] = hash_bytes(scales.dump());
  return inputs;
}

}  // namespace qroar
