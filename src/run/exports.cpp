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
#include "quant/calibrated.h"
#include "results/results.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

enum class Weights { quantized, full_precision, packed };

const char* weights_of(const Job& job) {
  if (!job.output.exported->grids.empty()) return "packed";
  return job.output.exported->full_precision ? "full_precision" : "quantized";
}

/// Returns the uniform grid of a quantizer, or null.
const Rtn* grid_of(const Quantizer& quantizer) {
  if (const auto* calibrated = dynamic_cast<const CalibratedQuantizer*>(&quantizer)) return &calibrated->rtn();
  return dynamic_cast<const Rtn*>(&quantizer);
}

/// Returns the grids of the layers whose weights are quantized.  Throws an Error for one that 4-bit codes with scales
/// in the model's dtype cannot hold.
PackedGrids packed_grids(const QuantPlan& plan, const LlamaConfig& llama, at::ScalarType dtype) {
  PackedGrids grids;
  for (const LinearSite& site : linear_sites(llama)) {
    const auto quantizer = plan.rules.weight_quantizer(site.name);
    if (quantizer == nullptr) continue;
    const Rtn* rtn = grid_of(*quantizer);
    const bool fits = rtn != nullptr && rtn->grid().bits == 4 && rtn->group() >= 0 &&
                      ops::rtn_dtype(rtn->grid()) == dtype &&
                      (rtn->grid().symmetric || rtn->grid().zero != ops::RtnZero::plain);
    if (!fits) {
      fail(
          "weights: packed holds codes of 4 bits with scales in the model's dtype; give {} rtn, awq or gptq with bits: "
          "4, "
          "scale_dtype: {}, and symmetric: true or zero: included",
          site.name, dtype_text(dtype));
    }
    grids[site.name] = {rtn->group(), rtn->grid().symmetric};
  }
  if (grids.empty()) fail("weights: packed, and `quant` quantizes no weights; leave it out");
  return grids;
}

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

/// Returns what the export's imported.json says of its weights, so that rows of the exported model are not those of a
/// plain one; null where nothing has rounded them, and for codes, whose config.json tells.
Json imported_of(const Job& job) {
  const Json& before = job.model.config.imported;
  const QuantPlan& plan = job.method.quantization.plan;
  const auto rounds = [&](const LinearSite& site) { return plan.rules.weight_quantizer(site.name) != nullptr; };
  if (job.output.exported->full_precision || !std::ranges::any_of(linear_sites(job.model.config), rounds))
    return before;
  if (!job.output.exported->grids.empty()) return nullptr;
  const Json& label = value_at(before, "/label");
  const std::string prefix = label.is_string() ? label.get<std::string>() + " + " : "";
  return {{"label", prefix + job.output.exported->label},
          {"method", "qroar"},
          {"bits_per_weight", plan.bits_per_weight},
          {"source", job.model.spec.path.string()}};
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
  const auto weights = block.get_choice<Weights>(
      "weights", Weights::quantized,
      {{"quantized", Weights::quantized}, {"full_precision", Weights::full_precision}, {"packed", Weights::packed}});
  ExportSpec spec{block, block.get<std::string>("folder"), weights == Weights::full_precision, {}, ""};
  if (root.has("quant")) spec.label = axis_label(root.at("quant").json());
  if (spec.folder.empty()) block.at("folder").fail("expected a path, found an empty text");
  if (job.model.spec.bfloat16_rope)
    block.fail("an exported model computes its angles in float32; leave out model.rope_dtype");
  check_at(block, [&] {
    check_rope(job);
    if (!spec.full_precision) check_activations(job.method.quantization.plan, job.model.config);
    if (weights == Weights::packed) {
      spec.grids = packed_grids(job.method.quantization.plan, job.model.config, job.model.spec.dtype);
    }
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
      if (is_exported(job, nullptr)) return;
      check_replaceable(folder);
      check_can_be_made(folder);
    });
  }
}

bool is_exported(const Job& job, const Json& inputs) {
  const fs::path& folder = job.output.exported->folder;
  const std::optional<Json> marker = try_read_json_object(folder / kExportMarker);
  if (!marker || value_at(*marker, "/provenance/cell") != Json(job.id) ||
      value_at(*marker, "/provenance/weights") != Json(weights_of(job)))
    return false;
  if (!inputs.is_null() && value_at(*marker, "/provenance/inputs") != inputs) return false;
  return std::ranges::all_of(files_of_export(folder),
                             [&](const std::string& name) { return fs::exists(folder / name); });
}

void export_cell(const Job& job, const Json& inputs, const Llama& original, const Rescaling& rescaling,
                 const Llama& evaluated) {
  Llama model = evaluated;
  if (job.output.exported->full_precision) {
    model = original;
    rescaling.apply(model);
    redraw(job.method.quantization.plan.rounding, model);
  }
  Json provenance{{"cell", job.id}, {"weights", weights_of(job)}, {"inputs", inputs}, {"config", job.resolved}};
  if (!job.model.config.imported.is_null()) provenance["imported"] = job.model.config.imported;
  export_model(model, rope_of(job, original), job.model.spec.path, job.output.exported->folder, provenance,
               job.output.exported->grids, imported_of(job));
  spdlog::info("cell {} exported to {}", job.id, job.output.exported->folder.string());
}

}  // namespace qroar
