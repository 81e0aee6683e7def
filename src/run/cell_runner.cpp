#include "run/cell_runner.h"

#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>
#include <spdlog/spdlog.h>

#include <mutex>

#include "base/error.h"
#include "base/host.h"
#include "base/stop.h"
#include "model/angles.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "run/cell_log.h"
#include "run/diagnose.h"
#include "run/environment.h"
#include "run/exports.h"
#include "run/find_scales.h"
#include "run/inputs.h"
#include "run/measure_tasks.h"
#include "run/measure_windows.h"
#include "run/memory.h"
#include "run/shared_passes.h"

namespace qroar {
namespace {

using Clock = std::chrono::steady_clock;

void say_no_kernel_once() {
  static std::once_flag said;
  std::call_once(said, [] {
    spdlog::info("no kernel of ours for attention in bfloat16: this processor lacks AVX512-BF16, ATen's is used");
  });
}

/// Throws an Error where the device fails whatever it is asked for, as a GPU does after some errors: other cells are
/// left to processes that have another one.
void check_answers(const Job& job) {
  if (!job.model.open_error.empty()) return;
  const at::Device device = ops::parse_device(job.model.spec.device);
  try {
    ops::synchronize(device);
  } catch (const c10::Error& error) {
    fail("{} fails whatever it is asked for ({}); see to it and run this again", device.str(),
         error.what_without_backtrace());
  }
}

}  // namespace

bool CellRunner::is_finished(const Cell& cell, const std::optional<Json>& row) {
  if (!row || (*row)["status"] != "ok" || !cell.job->model.open_error.empty()) return false;
  const Json& inputs = value_at(*row, "/environment/inputs");
  if (inputs.is_null()) return false;
  models_.close_changed();
  if (inputs == inputs_of(cell, models_)) return !cell.job->output.exported || is_exported(*cell.job, inputs);
  spdlog::warn(
      "cell {}: its model, tokenizer, data or RoPE factors changed since its row was written; running it again",
      cell.job->id);
  return false;
}

std::optional<bool> CellRunner::run(const Cell& cell, Claim& claim, const std::vector<HeldCell>& companions) {
  claim_ = &claim;
  companions_ = &companions;
  const Job& job = *cell.job;
  results_.make_cell_folder(job.id);
  const CellLog log(results_.cell(job.id));
  remove_stale_temporaries(results_.cell(job.id), /*below=*/true);
  Json row{{"id", job.id},
           {"experiment", experiment_},
           {"axes", job.axes},
           {"status", "ok"},
           {"error", nullptr},
           {"metrics", Json::object()},
           {"seconds", nullptr},
           {"tokens_per_second", nullptr},
           {"model_tflops_per_second", nullptr},
           {"peak_bytes", nullptr},
           {"bits_per_weight", nullptr},
           {"bits_per_cached_value", nullptr}};
  spdlog::info("cell {} {}", job.id, axis_label(job.axes));
  begun_ = done_;
  running_ = cell.flops();
  CellOutput output;
  bool is_lost = false;
  try {
    Measured measured = run_parts(cell, row);
    row.update(measured.row);
    output = std::move(measured.output);
  } catch (const c10::Error& error) {
    row["error"] = error.what_without_backtrace();
  } catch (const InternalError&) {
    throw;
  } catch (const Stopped&) {
    throw;
  } catch (const TakenOver&) {
    is_lost = true;
  } catch (const std::exception& error) {
    row["error"] = error.what();
  }
  advance(cell.flops() - (done_ - begun_), job);
  claim_ = nullptr;
  if (is_lost || !claim.is_held()) {
    progress_->clear();
    spdlog::warn("cell {}: another process took it over while this one did not answer; it is left to that one", job.id);
    return std::nullopt;
  }
  const bool ok = row["error"].is_null();
  if (!ok) {
    row["status"] = "failed";
    progress_->clear();
    spdlog::error("cell {} failed: {}", job.id, row["error"].get<std::string>());
    check_answers(job);
  }
  row["environment"]["ended"] = utc_now();
  row["config"] = job.resolved;
  results_.write(row, output);
  if (ok) PartialCell::remove(results_.cell(job.id));
  return ok;
}

Measured CellRunner::run_parts(const Cell& cell, Json& row) {
  const Job& job = *cell.job;
  const at::Device device = ops::parse_device(job.model.open_error.empty() ? job.model.spec.device : "cpu");
  const c10::DeviceGuard guard(device);  // our kernels run on the current device
  row["environment"] = describe_environment(device);
  if (!job.model.open_error.empty()) fail("{}", job.model.open_error);
  row["bits_per_weight"] = job.method.quantization.plan.bits_per_weight;
  row["bits_per_cached_value"] = job.method.quantization.plan.kv.bits_per_value();
  models_.close_changed();
  row["environment"].update(provenance_of(cell));
  if (!job.model.config.imported.is_null()) row["environment"]["imported"] = job.model.config.imported;
  Json warnings = job.model.config.warnings;
  for (const std::string& warning : cell.warnings) {
    spdlog::warn("cell {}: {}", job.id, warning);
    warnings.push_back(warning);
  }
  if (!warnings.empty()) row["warnings"] = warnings;
  const std::unique_ptr<PartialCell> partial = partial_of(job, row["environment"], [this] {
    if (!claim_->is_held()) throw TakenOver();
  });
  Measured measured = evaluate_cell(cell, device, *partial);
  models_.check_unchanged(job);
  return measured;
}

std::unique_ptr<PartialCell> CellRunner::partial_of(const Job& job, const Json& environment,
                                                    const std::function<void()>& check_held) {
  const Json inputs{{"inputs", environment["inputs"]}, {"bits", deciding_bits(environment)}};
  const bool restart = rerun_ && !kept_.contains(job.id);
  return std::make_unique<PartialCell>(results_.cell(job.id), inputs, restart, [this, &job, check_held] {
    models_.check_unchanged(job);
    check_held();
  });
}

std::vector<CompanionCell> CellRunner::companions_of(const Cell& cell, const Llama& original) {
  models_.check_unchanged(*cell.job);  // else what follows would open a changed model again, while it is in use
  std::vector<CompanionCell> companions;
  for (const auto& [other, claim] : *companions_) {
    const Job& job = *other->job;
    if (!models_.is_last({job, *job.method.rescaling, job.method.quantization, other->calibration.get()})) continue;
    results_.make_cell_folder(job.id);
    Json environment = describe_environment(original.embed_tokens_VD.device());
    environment.update(provenance_of(*other));
    const TableOf table_of = [&job, original](int64_t length) { return job.table(length, original); };
    companions.push_back(
        {*other, cached_angles(table_of, original.embed_tokens_VD, job.model.spec.bfloat16_rope),
         std::make_unique<PartsForAnother>(partial_of(job, environment, [] {}), *claim, cell.job->id)});
    kept_.insert(job.id);
  }
  return companions;
}

Json CellRunner::provenance_of(const Cell& cell) {
  const Job& job = *cell.job;
  return {{"inputs", inputs_of(cell, models_)},
          {"trained_length", job.model.config.trained_length},
          {"dtype", dtype_text(job.model.spec.dtype)},
          {"rope", job.resolved["rope"]["type"] == "model" ? job.model.config.rope : job.resolved["rope"]}};
}

Measured CellRunner::evaluate_cell(const Cell& cell, const at::Device& device, PartialCell& partial) {
  const Job& job = *cell.job;
  const bool streamed = is_streamed(cell, device);
  check_memory(cell, device, streamed);
  const auto before = Clock::now();
  progress_->clear();
  if (device.is_cpu() && job.model.spec.dtype == at::kBFloat16 && !ops::has_cpu_attention()) say_no_kernel_once();
  if (streamed) spdlog::info("cell {}: layers are streamed: read, changed and dropped in turn", job.id);
  models_.stream(streamed);
  const Llama original = models_.original(job, device);
  const TableOf table_of = [&](int64_t length) { return job.table(length, original); };
  const AnglesOf angles_of = cached_angles(table_of, original.embed_tokens_VD, job.model.spec.bfloat16_rope);
  job.method.rescaling->check_checkpoint(models_.hash(job));
  FoundScales scales{job.method.rescaling, {}};
  if (job.method.search) scales = find_scales(cell, models_, original);
  const Rescaling& rescaling = *scales.rescaling;
  const Recipe recipe{job, rescaling, job.method.quantization, cell.calibration.get()};
  const Llama& model = models_.model(recipe, device);  // may run the calibration
  progress_->leave_out(Clock::now() - before);
  at::manual_seed(static_cast<uint64_t>(job.seed));
  ops::reset_peak_bytes(device);
  if (partial.found() > 0) {
    const std::string origin = PartsForAnother::origin(partial, cell.windows.size());
    spdlog::info("cell {}: {} parts (windows, questions) were finished already{}", job.id, partial.found(),
                 origin.empty() ? "" : ", scored with those of cell " + origin);
    if (!kept_.contains(job.id)) progress_->include(partial.seconds(""));
  }
  Measured measured;
  if (cell.data != nullptr) {
    measured = measure_windows(cell, models_, model, angles_of, partial, companions_of(cell, original),
                               [&](const Window& window, double share) {
                                 advance(share * cell.flops(window), job);
                                 throw_if_stop_requested();
                               });
  }
  measured.add(measure_tasks(cell, model, table_of, angles_of, partial, [&](double flops, const std::string& task) {
    advance(flops, job, task);
    throw_if_stop_requested();
  }));
  measured.row["peak_bytes"] = ops::peak_bytes(device);
  if (!job.output.diagnostics.empty()) {
    const Llama full = models_.full(job.method.quantization);
    measured.output.diagnostics = diagnose(cell, original, full, model, angles_of, *progress_);
  }
  if (job.output.exported) {
    models_.check_unchanged(job);
    export_cell(job, inputs_of(cell, models_), original, rescaling, model);
  }
  if (job.method.search) {
    measured.row["search"] = scales.output.summary;
    measured.output.search = std::move(scales.output);
  }
  if (!job.output.controls.empty()) measured.row["controls"] = job.output.controls;
  return measured;
}

void CellRunner::advance(double flops, const Job& job, const std::string& part) {
  done_ += flops;
  if (claim_ != nullptr && running_ > 0) claim_->report((done_ - begun_) / running_);
  progress_->advance(flops, axis_label(job.axes) + (part.empty() ? "" : ": " + part));
}

}  // namespace qroar
