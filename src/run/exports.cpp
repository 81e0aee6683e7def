#include "run/exports.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/export.h"
#include "config/check_at.h"
#include "model/family.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

const char* weights_of(const Job& job) { return job.output.exported->full_precision ? "full_precision" : "quantized"; }

EvaluatedRope evaluated_rope(const Job& job, int64_t length, const std::function<RopeTable(int64_t)>& table) {
  EvaluatedRope rope{*job.method.rope, job.method.geometry, length, table};
  rope.takes_type = [family = std::shared_ptr<Family>(family_of(job.model.config.model_type))](std::string_view type) {
    return family->takes_rope_type(type);
  };
  return rope;
}

/// Returns the RoPE to export; the source's own RoPE keeps the length that its config.json states.
EvaluatedRope rope_of(const Job& job, const Llama& original) {
  const bool is_own = job.resolved["rope"]["type"] == "model";
  return evaluated_rope(job, is_own ? job.model.config.max_position_embeddings : job.model.config.trained_length,
                        [&](int64_t length) { return job.table(length, original); });
}

void check_rope(const Job& job) {
  const auto table = [&](int64_t length) { return job.method.rope->table(job.method.geometry, length); };
  const EvaluatedRope rope = evaluated_rope(job, 0, table);
  const LlamaConfig& llama = job.model.config;
  if (llama.model_type == "llama" && llama.partial_rotary_factor != 1)
    fail("transformers rotates the whole heads of a model of type llama, and partial_rotary_factor is {} here",
         llama.partial_rotary_factor);
  if (!(!job.method.rescaling->changes_table() && rope.said()) && !rope.fits_longrope()) {
    fail(
        "frequencies change with the length here in a way that no rope_type of config.json can describe; take a scheme "
        "with one table, such as ntk or yarn");
  }
}

/// Throws an Error for quantization or rotation of activations, which weights cannot store.
void check_activations(const QuantPlan& plan, const LlamaConfig& llama) {
  constexpr const char* kRest = "which weights in a folder cannot hold; leave that out, or say weights: full_precision";
  for (const LinearSite& site : linear_sites(llama)) {
    if (plan.rules.input_quantizer(site.name))
      fail("the inputs of {} are quantized as the model runs, {}", site.name, kRest);
  }
  HeadTransforms heads;
  plan.kv.attach(heads);
  if (heads.any()) fail("`kv` quantizes as the model runs, {}", kRest);
  if (plan.rotation.o_proj || plan.rotation.down_proj || plan.rotation.qk) {
    fail("`rotation.online` rotates activations as the model runs, {}", kRest);
  }
}

bool lies_in(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

/// Checks by trying, which alone covers read-only file systems, quotas and permissions.
void check_can_be_made(const fs::path& folder) {
  fs::path above = folder.parent_path();
  while (!fs::exists(above)) above = above.parent_path();
  std::string probe = (above / ".qroar.XXXXXX").string();
  if (::mkdtemp(probe.data()) == nullptr) {
    fail("{}: cannot be made, since no folder can be created in {}: {}", folder.string(), above.string(),
         std::strerror(errno));
  }
  ::rmdir(probe.c_str());
}

void check_not_a_source_model(const fs::path& folder, const std::vector<Job>& jobs) {
  for (const Job& job : jobs) {
    if (!job.model.open_error.empty()) continue;
    std::vector<fs::path> models{job.model.spec.path};
    if (job.model.reference) models.push_back(job.model.reference->path);
    for (const fs::path& path : models) {
      const fs::path model = export_target(path);
      if (lies_in(folder, model) || lies_in(model, folder)) {
        fail("the model {} is read by this experiment, and the export would change its folder; name another folder",
             path.string());
      }
    }
  }
}

}  // namespace

std::optional<ExportSpec> parse_export(const Config& root, const Job& job) {
  if (!root.has("export")) return std::nullopt;
  const Config block = root.at("export");
  ExportSpec spec{block, block.get<std::string>("folder"),
                  block.get_choice<bool>("weights", false, {{"quantized", false}, {"full_precision", true}})};
  if (job.model.spec.bfloat16_rope)
    block.fail("an exported model computes its angles in float32; leave out model.rope_dtype");
  check_at(block, [&] {
    check_rope(job);
    if (!spec.full_precision) check_activations(job.method.quantization.plan, job.model.config);
  });
  return spec;
}

void check_export_folders(const std::vector<Job>& jobs) {
  std::set<fs::path> folders;
  for (const Job& job : jobs) {
    if (!job.output.exported) continue;
    const fs::path folder = export_target(job.output.exported->folder);
    if (!folders.insert(folder).second)
      job.output.exported->block.fail("two cells export into this folder; sweep export.folder, too");
    check_at(job.output.exported->block, [&] {
      check_not_a_source_model(folder, jobs);
      if (is_exported(job)) return;
      check_replaceable(folder);
      check_can_be_made(folder);
    });
  }
}

bool is_exported(const Job& job) {
  const std::optional<Json> marker = try_read_json_object(job.output.exported->folder / kExportMarker);
  return marker && value_at(*marker, "/provenance/cell") == Json(job.id) &&
         value_at(*marker, "/provenance/weights") == Json(weights_of(job));
}

void export_cell(const Job& job, const Llama& original, const Rescaling& rescaling, const Llama& evaluated) {
  Llama model = evaluated;
  if (job.output.exported->full_precision) {
    model = original;
    rescaling.apply(model);
    redraw(job.method.quantization.plan.rounding, model);
  }
  export_model(model, rope_of(job, original), job.model.spec.path, job.output.exported->folder,
               {{"cell", job.id}, {"weights", weights_of(job)}, {"config", job.resolved}});
  spdlog::info("cell {} exported to {}", job.id, job.output.exported->folder.string());
}

}  // namespace qroar
