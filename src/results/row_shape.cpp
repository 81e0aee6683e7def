#include "results/row_shape.h"

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <span>

namespace qroar {
namespace {

/// A place and its allowed JSON types; "null" also stands for a missing value.
struct Field {
  const char *place, *types;
};
constexpr Field kRow[] = {{"/id", "string"},
                          {"/experiment", "string null"},
                          {"/axes", "object"},
                          {"/status", "string"},
                          {"/error", "string null"},
                          {"/metrics", "object"},
                          {"/seconds", "number null"},
                          {"/tokens_per_second", "number null"},
                          {"/model_tflops_per_second", "number null"},
                          {"/peak_bytes", "number null"},
                          {"/bits_per_weight", "number null"},
                          {"/bits_per_cached_value", "number null"},
                          {"/environment", "object"},
                          {"/environment/started", "string null"},
                          {"/environment/ended", "string null"},
                          {"/environment/program", "string null"},
                          {"/environment/commit", "string null"},
                          {"/environment/torch", "string null"},
                          {"/environment/host", "string null"},
                          {"/environment/trained_length", "number null"},
                          {"/environment/device", "string null"},
                          {"/environment/dtype", "string null"},
                          {"/environment/rope", "object null"},
                          {"/environment/imported", "object null"},
                          {"/environment/imported/label", "string null"},
                          {"/environment/inputs", "object null"},
                          {"/config", "object"},
                          {"/config/model", "object null"},
                          {"/config/data", "object null"},
                          {"/config/windows", "object null"},
                          {"/config/rescale", "object null"},
                          {"/config/rounding", "object null"},
                          {"/draws", "null"},  // which tables over rounding draws add
                          {"/warnings", "array null"},
                          {"/controls", "object null"},
                          {"/search", "object null"}};
constexpr Field kMetric[] = {{"/value", "number null"},    {"/stderr", "number null"}, {"/count", "number null"},
                             {"/clusters", "number null"}, {"/low", "number null"},    {"/high", "number null"},
                             {"/link", "string null"}};
constexpr Field kSearch[] = {{"/g", "array"}, {"/dev_gain", "number"}};
constexpr Field kPlan[] = {{"/experiment", "string"}, {"/cells", "array"}};
constexpr Field kCell[] = {{"/id", "string"}, {"/axes", "object"}, {"/flops", "number"}};

void check_fields(const Json& value, std::span<const Field> fields, const std::string& place, const Refuse& refuse) {
  if (!value.is_object()) refuse(fmt::format("{} is no object", place.empty() ? "it" : "'" + place + "'"));
  for (const Field& field : fields) {
    const std::string type = value_at(value, field.place).type_name();
    if (std::string(field.types).find(type) == std::string::npos)
      refuse(fmt::format("'{}{}' {}", place, field.place, type == "null" ? "is missing" : "is of type " + type));
  }
}

void check_items(const Json& items, const std::string& type, const std::string& place, const Refuse& refuse) {
  for (const Json& item : items) {
    if (item.type_name() != type) refuse(fmt::format("'{}' holds something that is no {}", place, type));
  }
}

}  // namespace

void check_row(const Json& row, const std::string& id, const Refuse& refuse) {
  check_fields(row, kRow, "", refuse);
  if (row["id"] != Json(id)) refuse(fmt::format("'/id' is {}, not the name of its folder", excerpt(row["id"])));
  if (row["status"] != "ok" && row["status"] != "failed")
    refuse(fmt::format("'/status' is {}, neither ok nor failed", excerpt(row["status"])));
  for (const auto& [name, metric] : row["metrics"].items()) check_fields(metric, kMetric, "/metrics/" + name, refuse);
  check_items(value_at(row, "/warnings"), "string", "/warnings", refuse);
  check_items(value_at(row, "/controls"), "string", "/controls", refuse);
  if (value_at(row, "/search").is_null()) return;
  check_fields(row["search"], kSearch, "/search", refuse);
  check_items(row["search"]["g"], "number", "/search/g", refuse);
}

void check_plan(const Json& plan, const Refuse& refuse) {
  check_fields(plan, kPlan, "", refuse);
  for (const Json& cell : plan["cells"]) {
    check_fields(cell, kCell, "/cells", refuse);
    const std::filesystem::path id = cell["id"].get<std::string>();
    if (id.empty() || id != id.filename() || id == "." || id == "..")
      refuse(fmt::format("'/cells/id' is {}, which names no folder in cells", excerpt(cell["id"])));
  }
}

}  // namespace qroar
