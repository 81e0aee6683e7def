#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "report/effects.h"
#include "report/field_formats.h"
#include "report/field_task.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

/// Returns "meta-llama/Llama-2-7b-hf" of "models/meta-llama/Llama-2-7b-hf"; the last folder's name where it has no
/// developer in front.
std::string hub_id(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).lexically_normal();
  const std::string developer = folder.parent_path().filename();
  const bool is_known = !developer.empty() && developer != "models" && developer != ".";
  return is_known ? developer + "/" + folder.filename().string() : "unknown/" + folder.filename().string();
}

bool is_finite(const Json& value) { return value.is_number() && std::isfinite(value.get<double>()); }

std::string as_text(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

Json result_of(const Json& row, const std::string& task, const FieldTask& found, const std::string& metric,
               const Json& entry) {
  const bool is_better = higher_is_better(metric);
  Json result{{"evaluation_result_id", fmt::format("{}/{}", task, metric)},
              {"evaluation_name", task},
              {"source_data", {{"dataset_name", task}, {"source_type", "other"}}}};
  if (const Json& path = value_at(found.config, "/path"); path.is_string())
    result["source_data"]["additional_details"] = {{"path", path}, {"task", found.config.dump()}};
  result["metric_config"] = {{"metric_id", metric},
                             {"metric_name", metric},
                             {"lower_is_better", !is_better},
                             {"score_type", "continuous"},
                             {"min_score", metric.starts_with("delta_p") ? Json(-1) : Json(0)},
                             {"max_score", is_better || metric.starts_with("delta_p") ? Json(1) : Json("Infinity")}};
  Json& details = result["score_details"] = {{"score", entry["value"]}};
  Json uncertainty = Json::object();
  if (const Json& error = value_at(entry, "/stderr"); is_finite(error)) {
    uncertainty["standard_error"] = {{"value", error}, {"method", "analytic"}};
  }
  if (is_finite(value_at(entry, "/low"))) {
    const auto draws = draws_of(row).size();
    uncertainty["confidence_interval"] = {
        {"lower", entry["low"]},
        {"upper", entry["high"]},
        {"confidence_level", 0.95},
        {"method", fmt::format("Student's t over {} clusters{}", value_at(entry, "/clusters").dump(),
                               draws > 1 ? fmt::format(" and {} rounding draws", draws) : "")}};
  }
  if (value_at(entry, "/count").is_number_integer()) uncertainty["num_samples"] = entry["count"];
  if (!uncertainty.empty()) details["uncertainty"] = uncertainty;
  return result;
}

Json record_of(const Json& row) {
  check_stated(row);
  const Json& config = row["config"];
  const Json& environment = row["environment"];
  const std::string path = config["model"]["path"], version = version_of(row);
  const std::string id = hub_id(path), name = row["id"];
  const auto started = fmt::format("{:.0f}", seconds_of(environment.value("started", "")));
  const auto ended = fmt::format("{:.0f}", seconds_of(environment.value("ended", "")));
  Json details{{"deployment_type", "self_deployed"}, {"model_availability", "unknown"}, {"path", path}};
  for (const char* key : {"dtype", "device_name"}) {
    if (environment.contains(key)) details[key] = as_text(environment[key]);
  }
  for (const char* block : {"rope", "quant", "kv", "rotation", "rescale", "windows"}) {
    if (config.contains(block)) details[block] = as_text(config[block]);
  }
  Json record{{"schema_version", "0.3.0"},
              {"evaluation_id", fmt::format("{}-{}/{}/{}", row["experiment"].get<std::string>(), name, id, ended)},
              {"evaluation_timestamp", started},
              {"retrieved_timestamp", ended},
              {"source_metadata",
               {{"source_name", "qroar"},
                {"source_type", "evaluation_run"},
                {"source_organization_name", "unknown"},
                {"evaluator_relationship", "other"},
                {"additional_details", {{"cell", name}}}}},
              {"eval_library",
               {{"name", "qroar"},
                {"version", version},
                {"additional_details",
                 {{"commit", as_text(environment["commit"])}, {"torch", as_text(environment["torch"])}}}}},
              {"model_info",
               {{"name", path},
                {"id", id},
                {"inference_engine", {{"name", "qroar"}, {"version", version}}},
                {"additional_details", details}}},
              {"evaluation_results", Json::array()}};
  for (const auto& [task, found] : tasks_of(row)) {
    for (const auto& [metric, entry] : found.metrics) {
      if (is_finite(value_at(*entry, "/value")))
        record["evaluation_results"].push_back(result_of(row, task, found, metric, *entry));
    }
  }
  return record;
}

}  // namespace

std::string eee_text(const std::vector<Json>& rows) {
  std::string text;
  for (const Json& row : rows) {
    if (row["status"] == "ok") text += record_of(row).dump() + "\n";
  }
  return text;
}

}  // namespace qroar
