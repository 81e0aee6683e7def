#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/csv.h"
#include "base/files.h"
#include "report/field_formats.h"
#include "report/field_task.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

/// Returns the lines of a table as objects {column: text}; none where there is no such file.
std::vector<std::map<std::string, std::string>> read_table(const std::filesystem::path& file) {
  std::vector<std::map<std::string, std::string>> rows;
  if (!std::filesystem::exists(file)) return rows;
  std::istringstream text(read_file(file));
  std::string line;
  std::getline(text, line);
  const std::vector<std::string> columns = csv_fields(line);
  while (std::getline(text, line)) {
    const std::vector<std::string> fields = csv_fields(line);
    std::map<std::string, std::string>& row = rows.emplace_back();
    for (std::size_t i = 0; i < std::min(columns.size(), fields.size()); ++i) row[columns[i]] = fields[i];
  }
  return rows;
}

Json sample(std::size_t place, const std::string& id, Json target, Json responses, Json filtered) {
  return {{"doc_id", place},
          {"doc", {{"id", id}}},
          {"target", std::move(target)},
          {"arguments", Json::object()},
          {"resps", std::move(responses)},
          {"filtered_resps", std::move(filtered)},
          {"filter", "none"}};
}

void add_metrics(Json& sample, const std::vector<std::pair<std::string, Json>>& metrics) {
  sample["metrics"] = Json::array();
  for (const auto& [name, value] : metrics) {
    sample["metrics"].push_back(name);
    sample[name] = value;
  }
}

/// Returns a question of multiple_choice, of qa, or of passkey.
Json question(std::size_t place, const std::map<std::string, std::string>& line) {
  const auto at = [&](const char* column) { return line.contains(column) ? line.at(column) : ""; };
  if (line.contains("log_likelihoods")) {
    Json responses = Json::array(), filtered = Json::array();
    std::istringstream numbers(at("log_likelihoods"));
    for (double number = 0; numbers >> number;) {
      responses.push_back({{number, false}});
      filtered.push_back({number, false});
    }
    Json made = sample(place, at("id"), at("label"), responses, filtered);
    std::vector<std::pair<std::string, Json>> metrics{{"acc", at("choice") == at("label") ? 1.0 : 0.0}};
    if (!at("choice_norm").empty()) metrics.emplace_back("acc_norm", at("choice_norm") == at("label") ? 1.0 : 0.0);
    add_metrics(made, metrics);
    return made;
  }
  const bool is_passkey = line.contains("key");
  const std::string id =
      is_passkey ? fmt::format("{} tokens, depth {}, sample {}", at("length"), at("depth"), at("sample")) : at("id");
  Json made = sample(place, id, is_passkey ? Json(at("key")) : Json(), {{at("answer")}}, {at("answer")});
  const auto number = [&](const char* column) { return std::strtod(at(column).c_str(), nullptr); };
  if (is_passkey)
    add_metrics(made, {{"accuracy", number("right")}});
  else
    add_metrics(made, {{"exact_match", number("exact_match")}, {"f1", number("f1")}});
  return made;
}

/// Returns each document's log likelihood and its tokens, as lm-evaluation-harness keeps rolling log likelihoods.
Json documents(const std::filesystem::path& file) {
  std::vector<std::string> ids;
  std::map<std::string, std::pair<double, double>> sums;  // log likelihood, tokens
  for (const auto& line : read_table(file)) {
    const std::string& id = line.at("document");
    if (!sums.contains(id)) ids.push_back(id);
    sums[id].first -= std::strtod(line.at("nll_sum").c_str(), nullptr);
    sums[id].second += std::strtod(line.at("tokens").c_str(), nullptr);
  }
  Json samples = Json::array();
  for (const std::string& id : ids) {
    const auto& [log_likelihood, tokens] = sums[id];
    Json made = sample(samples.size(), id, Json(), {{log_likelihood}}, {log_likelihood});
    add_metrics(made, {{"nll", {log_likelihood, tokens}}});
    samples.push_back(std::move(made));
  }
  return samples;
}

Json samples_of(const Results& results, const Json& row, const std::string& name, const FieldTask& task) {
  const std::filesystem::path folder = results.cell(row["id"]);
  if (task.is_text) return documents(folder / "windows.csv");
  Json samples = Json::array();
  for (const auto& line : read_table(folder / "tasks" / (name + ".csv")))
    samples.push_back(question(samples.size(), line));
  return samples;
}

/// Throws an Error where a task's table has not a line for each question that the row counts.
void check_all_there(const Results& results, const Json& row, const std::string& name, std::size_t lines) {
  for (const auto& [metric, value] : row["metrics"].items()) {
    if (!metric.starts_with(name + "/") || metric.find("/accuracy_") != metric.npos) continue;
    if (value["count"] != lines) {
      fail("{}: has {} questions where the row counts {} for {}; run the cell again (`qroar run --rerun`)",
           (results.cell(row["id"]) / "tasks" / (name + ".csv")).string(), lines, value["count"].dump(), metric);
    }
  }
}

Json run_of(const Results& results, const Json& row) {
  check_stated(row);
  const Json& config = row["config"];
  const Json& environment = row["environment"];
  Json run;
  for (const char* part :
       {"results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples"})
    run[part] = Json::object();
  Json samples = Json::object(), intervals = Json::object();
  for (const auto& [name, task] : tasks_of(row)) {
    Json& found = run["results"][name] = {{"name", name}, {"alias", name}};
    for (const auto& [metric, entry] : task.metrics) {
      const Json& error = value_at(*entry, "/stderr");
      found[metric + ",none"] = value_at(*entry, "/value");
      found[metric + "_stderr,none"] = error.is_null() ? Json("N/A") : error;
      run["higher_is_better"][name][metric] = higher_is_better(metric);
      if (value_at(*entry, "/low").is_number()) intervals[name][metric] = {(*entry)["low"], (*entry)["high"]};
    }
    samples[name] = samples_of(results, row, name, task);
    if (!task.is_text) check_all_there(results, row, name, samples[name].size());
    found["sample_len"] = samples[name].size();
    const Json shots = task.config.value("shots", Json(0));
    run["configs"][name] = {{"task", name},
                            {"dataset_path", task.config.value("path", Json())},
                            {"output_type", task.is_text ? "loglikelihood_rolling"
                                            : task.config.value("type", "") == "multiple_choice" ? "multiple_choice"
                                                                                                 : "generate_until"},
                            {"doc_to_text", task.config.value("prompt", Json())},
                            {"num_fewshot", shots}};
    run["versions"][name] = nullptr;  // prompts are the user's
    run["n-shot"][name] = shots;
    run["n-samples"][name] = {{"original", samples[name].size()}, {"effective", samples[name].size()}};
  }
  const std::string model = config["model"]["path"];
  Json arguments{{"pretrained", model}, {"dtype", value_at(environment, "/dtype")}};
  for (const char* block : {"rope", "quant", "kv", "rotation", "rescale", "rounding"}) {
    if (config.contains(block)) arguments[block] = config[block];
  }
  run["config"] = {{"model", "qroar"},
                   {"model_args", arguments},
                   {"model_dtype", value_at(environment, "/dtype")},
                   {"device", value_at(environment, "/device")},
                   {"batch_size", nullptr},
                   {"bootstrap_iters", 0}};
  run["git_hash"] = environment["commit"];
  run["date"] = seconds_of(environment.value("started", ""));
  run["model_source"] = "qroar";
  run["model_name"] = model;
  run["model_name_sanitized"] = model;
  std::ranges::replace(run["model_name_sanitized"].get_ref<std::string&>(), '/', '_');
  run["max_length"] = value_at(config, "/windows/length");
  run["qroar_version"] = version_of(row);
  run["cell"] = row["id"];
  run["intervals"] = std::move(intervals);
  run["samples"] = std::move(samples);
  return run;
}

}  // namespace

std::string lm_eval_text(const Results& results, const std::vector<Json>& rows) {
  std::string text;
  for (const Json& row : rows) {
    if (row["status"] == "ok") text += run_of(results, row).dump() + "\n";
  }
  return text;
}

}  // namespace qroar
