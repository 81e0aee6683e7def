#include "run/cell_runner.h"

#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <deque>

#include "base/error.h"
#include "base/files.h"
#include "base/host.h"
#include "base/stop.h"
#include "model/angles.h"
#include "ops/device.h"
#include "run/environment.h"
#include "run/exports.h"
#include "run/find_scales.h"

namespace qroar {
namespace {

using Clock = std::chrono::steady_clock;

/// Copies the log into the cell's folder while the cell runs.
class CellLog {
 public:
  explicit CellLog(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    sink_ = std::make_shared<spdlog::sinks::basic_file_sink_mt>((folder / "log.txt").string(), /*truncate=*/true);
    spdlog::default_logger()->sinks().push_back(sink_);
  }
  ~CellLog() { std::erase(spdlog::default_logger()->sinks(), sink_); }

 private:
  spdlog::sink_ptr sink_;
};

/// Angles of the last lengths asked for: windows of one cell mostly share theirs, and a search goes to and fro between
/// its lengths.
AnglesOf cached_angles(const TableOf& table_of, const Llama& original, bool bfloat16_rope) {
  constexpr std::size_t kKept = 4;
  auto last = std::make_shared<std::deque<std::pair<int64_t, ops::RopeAngles>>>();
  const at::Tensor weights = original.embed_tokens_VD;
  return [table_of, weights, bfloat16_rope, last](int64_t length) {
    const auto known = std::ranges::find(*last, length, &std::pair<int64_t, ops::RopeAngles>::first);
    if (known != last->end()) return known->second;
    if (last->size() == kKept) last->pop_front();
    last->emplace_back(length,
                       rope_angles(table_of(length), length, weights.scalar_type(), weights.device(), bfloat16_rope));
    return last->back().second;
  };
}

void put(const std::vector<MetricValue>& values, Json& row) {
  for (const MetricValue& value : values) {
    if (std::isnan(value.value)) fail("{}: not a number, over {} samples", value.name, value.count);
    row["metrics"][value.name] = {{"value", value.value}, {"stderr", value.stderr_}, {"count", value.count}};
  }
}

}  // namespace

bool CellRunner::is_finished(const Cell& cell, const std::optional<Json>& row) {
  if (!row || (*row)["status"] != "ok" || !cell.job->unopened.empty()) return false;
  if (!row->contains(Json::json_pointer("/environment/inputs"))) return false;
  const Json& inputs = (*row)["environment"]["inputs"];
  if (inputs == inputs_of(cell)) return !cell.job->exported || is_exported(*cell.job);
  spdlog::warn(
      "cell {}: its model, tokenizer, data or RoPE factors changed since its row was written; running it again",
      cell.job->id);
  return false;
}

std::optional<bool> CellRunner::run(const Cell& cell, Claim& claim) {
  claim_ = &claim;
  const Job& job = *cell.job;
  const CellLog log(results_.cell(job.id));
  remove_left_by_dead(results_.cell(job.id), /*below=*/true);
  Json row{{"id", job.id},
           {"experiment", experiment_},
           {"axes", job.axes},
           {"status", "ok"},
           {"error", nullptr},
           {"metrics", Json::object()},
           {"seconds", nullptr},
           {"tokens_per_second", nullptr},
           {"model_tflops_per_second", nullptr},
           {"peak_bytes", nullptr}};
  spdlog::info("cell {} {}", job.id, axis_label(job.axes));
  begun_ = done_;
  running_ = cell.flops();
  CellOutput output;
  try {
    output = run_parts(cell, row);
  } catch (const c10::Error& error) {
    row["error"] = error.what_without_backtrace();
  } catch (const InternalError&) {
    throw;
  } catch (const Stopped&) {
    throw;
  } catch (const std::exception& error) {
    row["error"] = error.what();
  }
  advance(cell.flops() - (done_ - begun_), job);
  claim_ = nullptr;
  if (!claim.is_held()) {
    progress_->clear();
    spdlog::warn("cell {}: another process took it over while this one did not answer; it is left to that one", job.id);
    return std::nullopt;
  }
  const bool ok = row["error"].is_null();
  if (!ok) {
    row["status"] = "failed";
    output = {};
    progress_->clear();
    spdlog::error("cell {} failed: {}", job.id, row["error"].get<std::string>());
  }
  row["environment"]["ended"] = utc_now();
  row["config"] = job.resolved;
  results_.write(job, row, output, cell.data.get());
  if (ok) PartialCell::remove(results_.cell(job.id));
  return ok;
}

CellOutput CellRunner::run_parts(const Cell& cell, Json& row) {
  const Job& job = *cell.job;
  const at::Device device = ops::parse_device(job.unopened.empty() ? job.model.device : "cpu");
  const c10::DeviceGuard guard(device);  // our kernels run on the current device
  Json environment = describe_environment(device);
  row["environment"] = environment;
  if (!job.unopened.empty()) fail("{}", job.unopened);
  environment["inputs"] = inputs_of(cell);
  environment["trained_length"] = job.llama.trained_length;
  environment["dtype"] = dtype_text(job.model.dtype);
  environment["rope"] = job.resolved["rope"]["type"] == "model" ? job.llama.rope : job.resolved["rope"];
  row["environment"] = environment;
  Json warnings = job.llama.warnings;
  for (const std::string& warning : cell.warnings) {
    spdlog::warn("cell {}: {}", job.id, warning);
    warnings.push_back(warning);
  }
  if (!warnings.empty()) row["warnings"] = warnings;
  const auto check_unchanged = [&] { models_.check_unchanged(job); };
  PartialCell partial(results_.cell(job.id), {{"inputs", environment["inputs"]}, {"bits", deciding_bits(environment)}},
                      rerun_, check_unchanged);
  CellOutput output = evaluate_cell(cell, device, partial, row);
  check_unchanged();
  return output;
}

Json CellRunner::inputs_of(const Cell& cell) {
  models_.close_changed();
  const Job& job = *cell.job;
  const RopeTable table = job.rope->table(job.geometry, job.windows.length);
  Json inputs{{"model", models_.hash(job)}, {"tokenizer", job.opened.tokenizer_hash}};
  models_.check_config(job);
  if (cell.data != nullptr) inputs["data"] = cell.data->hash;
  if (job.reference) inputs["reference"] = models_.reference_hash(*job.reference);
  inputs["rope"] = hash_bytes(Json(table.inv_freq).dump());
  for (const auto& task : job.tasks) inputs["tasks"].push_back(task->hash());
  if (cell.calibration != nullptr) inputs["calibration"] = cell.calibration->hash;
  if (cell.dev != nullptr) inputs["dev"] = cell.dev->hash;
  if (cell.dev_calibration != nullptr) inputs["dev_calibration"] = cell.dev_calibration->hash;
  const Json scales = job.rescaling->weights_key();
  if (!scales.is_null()) inputs["scales"] = hash_bytes(scales.dump());
  return inputs;
}

CellOutput CellRunner::evaluate_cell(const Cell& cell, const at::Device& device, PartialCell& partial, Json& row) {
  const Job& job = *cell.job;
  check_memory(cell, device);
  const auto before = Clock::now();
  progress_->clear();
  const Llama original = models_.original(job, device);
  const TableOf table_of = [&](int64_t length) { return job.table(length, original); };
  const AnglesOf angles_of = cached_angles(table_of, original, job.model.bfloat16_rope);
  CellOutput output;
  job.rescaling->check_checkpoint(models_.hash(job));
  const auto rescaling =
      job.rescaling->search() == nullptr ? job.rescaling : find_scales(cell, models_, original, angles_of, output);
  const Recipe recipe{job, *rescaling, job.quantization, cell.calibration.get()};
  const Llama& model = models_.model(recipe, device);  // which may calibrate
  progress_->leave_out(Clock::now() - before);
  at::manual_seed(static_cast<uint64_t>(job.seed));
  ops::reset_peak_bytes(device);
  if (partial.found() > 0)
    spdlog::info("cell {}: {} parts (windows, questions) were finished already", job.id, partial.found());
  score_windows(cell, model, angles_of, partial, output, row);
  run_tasks(cell, model, table_of, angles_of, partial, output, row);
  row["peak_bytes"] = ops::peak_bytes(device);
  if (!job.diagnostics.empty()) output.diagnostics = diagnose(cell, model, angles_of);
  if (job.exported) export_cell(job, original, *rescaling, model);
  if (output.search) row["search"] = output.search->summary;
  if (!job.controls.empty()) row["controls"] = job.controls;
  return output;
}

void CellRunner::score_windows(const Cell& cell, const Llama& model, const AnglesOf& angles_of, PartialCell& partial,
                               CellOutput& output, Json& row) {
  if (cell.data == nullptr) return;
  const Job& job = *cell.job;
  const std::vector<Document>& documents = cell.data->documents;
  Llama reference;
  AnglesOf reference_angles = angles_of;
  if (job.reference) {
    reference = models_.reference(*job.reference, model.embed_tokens_VD.device());
    reference_angles =
        cached_angles([&](int64_t length) { return job.reference->table(length); }, reference, job.model.bfloat16_rope);
  } else if (job.needs_reference()) {
    reference = models_.full(job.quantization);
  }
  const ReferenceModel compared{reference, reference_angles};
  partial.start_clock();
  const auto metrics = job.fresh_metrics();
  output.losses = evaluate(
      {model, job.needs_reference() ? &compared : nullptr, angles_of, documents, cell.windows, job.windows.feed},
      metrics, &partial, [&](const Window& window) {
        advance(cell.flops(window), job);
        stop_if_asked();
      });
  double tokens = 0, flops = 0;
  for (const Window& window : cell.windows) {
    tokens += static_cast<double>(tokens_seen(window, job.windows.feed));
    flops += cell.flops(window);
  }
  const double seconds = partial.seconds("window/");
  row["seconds"] = seconds;
  row["tokens_per_second"] = tokens / seconds;
  row["model_tflops_per_second"] = flops / seconds / 1e12;
  for (const auto& metric : metrics) {
    put(metric->values(job.windows.aggregate, documents), row);
    if (auto curve = metric->curve()) output.curves.insert(std::move(*curve));
  }
}

/// Where there are windows, too, their time is not in the row's.
void CellRunner::run_tasks(const Cell& cell, const Llama& model, const TableOf& table_of, const AnglesOf& angles_of,
                           PartialCell& partial, CellOutput& output, Json& row) {
  const Job& job = *cell.job;
  partial.start_clock();
  for (const auto& task : job.tasks) {
    const double flops = task->flops(job.llama);
    double told = 0;
    const std::function<void(double)> tell = [&](double done) {
      advance(flops * (done - told), job, task->name());
      told = done;
      stop_if_asked();
    };
    TaskResult result = task->run({model, angles_of, table_of, job.model.bfloat16_rope, *job.opened.tokenizer,
                                   job.windows.length, tell, partial});
    put(result.values, row);
    output.tasks[task->name()] = std::move(result.items);
  }
  if (cell.data == nullptr) row["seconds"] = partial.seconds("");
}

/// Their time and memory are not the evaluation's: neither is in the row.
std::map<std::string, CsvTable> CellRunner::diagnose(const Cell& cell, const Llama& model, const AnglesOf& angles_of) {
  const Job& job = *cell.job;
  const Llama full = models_.full(job.quantization);
  const DiagnosticInput input{
      full,      model,     job.quantization.plan, cell.data->documents, cell.windows, job.windows.feed,
      angles_of, *job.rope, job.geometry};
  std::map<std::string, CsvTable> tables;
  for (const auto& [type, diagnostic] : job.diagnostics) {
    const auto start = Clock::now();
    tables[type] = diagnostic->run(input);
    progress_->clear();
    spdlog::info("cell {} {}: {:.1f} s", job.id, type, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return tables;
}

void CellRunner::advance(double flops, const Job& job, const std::string& part) {
  done_ += flops;
  if (claim_ != nullptr && running_ > 0) claim_->tell((done_ - begun_) / running_);
  progress_->advance(flops, axis_label(job.axes) + (part.empty() ? "" : ": " + part));
}

}  // namespace qroar
