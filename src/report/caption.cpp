#include "report/caption.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "base/error.h"
#include "config/registry.h"
#include "report/changed_files.h"
#include "report/effects.h"
#include "report/row_axes.h"
#include "report/row_tables.h"
#include "results/results.h"
#include "results/row_shape.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

constexpr const char* kSwept = "swept";

/// Returns the value at a place that is common to all rows that have one; null where they differ.
std::optional<Json> common_value(const std::vector<Json>& rows, const std::string& place) {
  const Json& first = value_at(rows.front(), place);
  const bool is_common = std::ranges::all_of(rows, [&](const Json& row) { return value_at(row, place) == first; });
  return is_common ? std::optional(first) : std::nullopt;
}

/// Returns the same as text; empty where no row has a value.
std::string common(const std::vector<Json>& rows, const std::string& place) {
  const auto value = common_value(rows, place);
  return !value ? kSwept : value->is_null() ? "" : axis_label(*value);
}

/// Returns a scheme's block with only the keys that are needed to build the same scheme: defaults are of little use.
Json without_defaults(const Json& block) {
  const auto built = [](const Json& from) {
    const Config config = Config::parse(from.dump(), "rope");
    Registry<RopeScheme>::instance().build(config);
    return config.resolved();
  };
  Json kept = block;
  for (const auto& [key, value] : block.items()) {
    Json less = kept;
    less.erase(key);
    try {
      if (key != "type" && built(less) == built(kept)) kept = less;
    } catch (const Error&) {
      // The key is needed, or the block is of a version that this program does not support.
    }
  }
  return kept;
}

/// Returns "yarn ×8", or "model (llama3 ×8 ...)" with the content of config.json.
std::string rope_of(const std::vector<Json>& rows) {
  const auto scheme = common_value(rows, "/config/rope");
  if (!scheme) return kSwept;
  if (!scheme->is_object()) return "";
  const std::string label = axis_label(without_defaults(*scheme));
  if (value_at(*scheme, "/type") != "model") return label;
  const std::string found = common(rows, "/environment/rope");
  return found.empty() ? label : fmt::format("{} ({})", label, found == "none" ? "plain" : found);
}

/// Returns "float32", or "auto (float32)" with the resolved dtype.
std::string dtype_of(const std::vector<Json>& rows) {
  const std::string dtype = common(rows, "/config/model/dtype"), found = common(rows, "/environment/dtype");
  return dtype != "auto" || found.empty() ? dtype : fmt::format("{} ({})", dtype, found);
}

/// Returns "; quant rtn W4 g64; kv ...": the changes to the model that no column shows.
std::string changes_of(const std::vector<Json>& rows) {
  const std::string imported = common(rows, "/environment/imported/label");
  std::string text = imported.empty() || imported == kSwept ? "" : "; weights " + imported;
  for (const std::string block : {"rotation", "quant", "kv", "rescale"}) {
    const std::string label = common(rows, "/config/" + block);
    if (!label.empty() && label != "none" && label != kSwept) text += fmt::format("; {} {}", block, label);
  }
  return text;
}

/// Returns how the windows were made: "protocol yarn, bos true, stride 256".
std::string protocol_of(const std::vector<Json>& rows) {
  const auto windows = [&](const std::string& key) { return common(rows, "/config/windows/" + key); };
  const std::string name = windows("protocol");
  std::string text = name.empty() ? "" : fmt::format("protocol {}, ", name);
  text += fmt::format("bos {}, {}", windows("bos"),
                      windows("truncate") == "true" ? "one window a document" : "stride " + windows("stride"));
  for (const auto& [key, usual] :
       {std::pair("concatenate", "false"), {"targets", "inside"}, {"score", "all"}, {"tail", "keep"}}) {
    if (windows(key) != usual) text += fmt::format(", {} {}", key, windows(key));
  }
  return text;
}

/// Returns which documents were read: "data gov.jsonl, documents 4, min_tokens 9216".
std::string data_of(const std::vector<Json>& rows) {
  const auto data = [&](const std::string& key) { return common(rows, "/config/data/" + key); };
  const std::string documents = data("documents");
  std::string text = fmt::format("data {}, documents {}", data("path"), documents == "0" ? "all" : documents);
  for (const auto& [key, usual] : {std::pair("min_tokens", "1"), {"skip", "0"}, {"max_tokens", "0"}}) {
    if (const std::string value = data(key); !value.empty() && value != usual)
      text += fmt::format(", {} {}", key, value);
  }
  return text;
}

/// Returns each distinct warning once.
std::string warnings_of(const std::vector<Json>& rows) {
  std::vector<std::pair<std::string, std::size_t>> found;  // and the number of rows with it
  for (const Json& row : rows) {
    const Json& warnings = value_at(row, "/warnings");
    for (auto warning = warnings.begin(); warning != warnings.end(); ++warning) {
      if (std::find(warnings.begin(), warning, *warning) != warning) continue;
      const auto known =
          std::ranges::find(found, warning->get<std::string>(), &std::pair<std::string, std::size_t>::first);
      if (known == found.end())
        found.emplace_back(*warning, 1);
      else
        ++known->second;
    }
  }
  std::string text;
  for (const auto& [warning, count] : found)
    text += fmt::format("warning ({} of {} rows): {}\n", count, rows.size(), warning);
  return text;
}

/// Returns what intervals are over: "12 documents and 8 rounding draws", "12 documents, given this rounding", or why
/// there are none.
std::string intervals_of(const std::vector<Json>& rows) {
  int64_t fewest = std::numeric_limits<int64_t>::max(), most = 0;
  std::size_t fewest_draws = std::numeric_limits<std::size_t>::max(), most_draws = 0;
  for (const Json& row : rows) {
    if (is_ok(row) && !row["metrics"].empty()) {
      fewest_draws = std::min(fewest_draws, draws_of(row).size());
      most_draws = std::max(most_draws, draws_of(row).size());
    }
    for (const auto& [name, metric] : row["metrics"].items()) {
      const Json& clusters = value_at(metric, "/clusters");
      if (!clusters.is_number_integer()) continue;
      fewest = std::min(fewest, clusters.get<int64_t>());
      most = std::max(most, clusters.get<int64_t>());
    }
  }
  const auto range = [](auto low, auto high) {
    return low == high ? fmt::format("{}", low) : fmt::format("{} to {}", low, high);
  };
  if (most == 0) return "no intervals: rows of an older version";
  const std::string units = fmt::format("{} {}{}", range(fewest, most),
                                        has_text(rows.front()) ? "document" : "question", most == 1 ? "" : "s");
  if (most < kFewestClusters) {
    return fmt::format("no intervals: {} {} fewer than {}{}", units, most == 1 ? "is" : "are", kFewestClusters,
                       has_text(rows.front()) ? ", those of one `group` being one" : "");
  }
  if (most_draws > 1 && most_draws < kFewestDraws) {
    return fmt::format("no intervals over {} rounding draws: {} are the fewest", most_draws, kFewestDraws);
  }
  const std::string over = most_draws > 1
                               ? fmt::format("{} and {} rounding draws", units, range(fewest_draws, most_draws))
                               : units + ", given this rounding";
  return fmt::format("95 % intervals over {}", over);
}

/// Returns a description of what is shown: the metric, where that is one's values, and the intervals.
std::string shown_of(const std::vector<Json>& rows, bool of_values) {
  const std::vector<std::string> metrics = shown_metrics(rows);
  return (of_values && metrics.size() == 1 ? metrics.front() + "; " : "") + intervals_of(rows);
}

}  // namespace

std::string caption(const std::vector<Json>& all, const std::string& paired, bool of_values) {
  std::vector<Json> readable;  // those of damaged files have no configuration
  if (std::ranges::any_of(all, is_damaged))
    std::ranges::copy_if(all, std::back_inserter(readable), std::not_fn(is_damaged));
  const std::vector<Json>& rows = readable.empty() ? all : readable;
  const bool has_values = std::ranges::any_of(rows, [](const Json& row) { return !row["metrics"].empty(); });
  std::string text = "no metrics; what diagnostics found is in cells/<id>/diagnostics";
  if (has_values)
    text = shown_of(rows, of_values) + paired;
  else if (std::ranges::none_of(rows, is_ok))
    text = "no values: every cell failed";
  text += fmt::format("; model {}, {}", common(rows, "/config/model/path"), dtype_of(rows));
  if (const std::string rope = rope_of(rows); !rope.empty()) text += "; rope " + rope;
  text += changes_of(rows);
  if (has_text(rows.front())) text += fmt::format("; {}; {}", data_of(rows), protocol_of(rows));
  text += "\n";
  for (const Json& row : all) {
    if (!is_ok(row))
      text += fmt::format("failed {}: {}\n", row["id"].get<std::string>(), axis_label(value_at(row, "/error")));
  }
  return text + changed_files(rows) + warnings_of(rows);
}

}  // namespace qroar
