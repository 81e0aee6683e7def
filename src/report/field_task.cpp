#include "report/field_task.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <filesystem>
#include <string_view>

#include "base/error.h"
#include "results/row_shape.h"

namespace qroar {
namespace {

/// Returns the name of a task: `name`, else that of its file, else its kind.
std::string name_of(const Json& task) {
  if (const Json& name = value_at(task, "/name"); name.is_string()) return name;
  if (const Json& path = value_at(task, "/path"); path.is_string())
    return std::filesystem::path(path.get<std::string>()).stem();
  const Json& type = value_at(task, "/type");
  return type.is_string() ? type : Json("task");
}

[[noreturn]] void refuse(const Json& row, const std::string& place) {
  fail("cell {}: its row has no {}, which this format states; delete the cell and run it again",
       row["id"].get<std::string>(), place);
}

}  // namespace

void check_stated(const Json& row) {
  for (const char* place : {"/experiment", "/config/model/path", "/environment/program", "/environment/commit",
                            "/environment/torch", "/environment/started", "/environment/ended"}) {
    if (!value_at(row, place).is_string()) refuse(row, place);
  }
}

std::map<std::string, FieldTask> tasks_of(const Json& row) {
  std::map<std::string, FieldTask> tasks;
  for (const Json& task : value_at(row, "/config/tasks")) {
    if (!task.is_object()) refuse(row, "/config/tasks");
    tasks[name_of(task)].config = task;
  }
  std::string text_name = name_of(value_at(row, "/config/data"));
  while (tasks.contains(text_name)) text_name += " (text)";  // of a file that is called as a task is
  for (const auto& [name, metric] : row["metrics"].items()) {
    const std::size_t slash = name.find('/');
    const std::string task = slash == name.npos ? "" : name.substr(0, slash);
    const bool is_text = !tasks.contains(task);
    if (is_text && !value_at(row, "/config/data").is_object()) refuse(row, "/config/data");
    FieldTask& found = tasks[is_text ? text_name : task];
    if (is_text) {
      found.config = value_at(row, "/config/data");
      found.is_text = true;
    }
    found.metrics.emplace_back(is_text ? name : name.substr(slash + 1), &metric);
  }
  std::erase_if(tasks, [](const auto& task) { return task.second.metrics.empty(); });
  return tasks;
}

bool higher_is_better(const std::string& metric) {
  constexpr std::array<std::string_view, 6> kGood{"acc", "acc_norm", "accuracy", "exact_match", "f1", "top1_agreement"};
  return metric.starts_with("accuracy_") || std::ranges::find(kGood, metric) != kGood.end();
}

std::string version_of(const Json& row) {
  const std::string program = row["environment"]["program"];
  return program.substr(program.rfind(' ') + 1);
}

double seconds_of(const std::string& time) {
  std::tm parts{};
  const char* rest = strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  return rest == nullptr ? 0 : static_cast<double>(timegm(&parts));
}

}  // namespace qroar
