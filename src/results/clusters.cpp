#include "results/clusters.h"

#include <array>
#include <cmath>

#include "base/csv.h"
#include "base/error.h"
#include "base/files.h"
#include "base/number.h"

namespace qroar {
namespace {

constexpr std::string_view kHead = "metric,group,scored,sum,weight";
using Fields = std::array<std::string_view, 5>;

/// Returns whether a line without quotes has five fields, and puts them into `fields`.
bool split(std::string_view line, Fields& fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::size_t comma = line.find(',');
    if ((comma == line.npos) != (i + 1 == fields.size())) return false;
    fields[i] = line.substr(0, comma);
    line.remove_prefix(comma == line.npos ? line.size() : comma + 1);
  }
  return true;
}

double number(std::string_view text, const char* column, const std::filesystem::path& file, std::size_t line) {
  double value = 0;
  if (read_number(text, value) != std::errc() || !std::isfinite(value))
    fail("{}:{}: {} is no number but '{}'; delete the cell and run again", file.string(), line, column, text);
  return value;
}

}  // namespace

std::string clusters_csv(const std::vector<ClusterRecord>& clusters) {
  std::string csv = std::string(kHead) + '\n';
  for (const auto& [metric, group, scored, sum, weight] : clusters)
    csv +=
        fmt::format("{},{},{},{:.17g},{:.17g}\n", csv_field(metric), csv_field(group), csv_field(scored), sum, weight);
  return csv;
}

std::vector<ClusterRecord> read_clusters(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) {
    fail("{}: no such file: the cell was run before clusters were written; delete the cell and run again",
         file.string());
  }
  const std::string text = read_file(file);
  std::vector<ClusterRecord> clusters;
  std::vector<std::string> unquoted;
  Fields fields;
  std::size_t line_number = 0;
  for (std::string_view left = text; !left.empty();) {
    const std::string_view line = left.substr(0, left.find('\n'));
    left.remove_prefix(std::min(left.size(), line.size() + 1));
    ++line_number;
    bool good = line_number > 1 || line == kHead;
    if (line_number == 1 && good) continue;
    if (line.find('"') == line.npos) {
      good = good && split(line, fields);
    } else {
      unquoted = csv_fields(std::string(line));
      good = good && unquoted.size() == fields.size();
      if (good) std::ranges::copy(unquoted, fields.begin());
    }
    if (!good) fail("{}:{}: no line of this program's; delete the cell and run again", file.string(), line_number);
    const double sum = number(fields[3], "sum", file, line_number),
                 weight = number(fields[4], "weight", file, line_number);
    if (weight <= 0)
      fail("{}:{}: the weight {} is not positive; delete the cell and run again", file.string(), line_number, weight);
    clusters.push_back({std::string(fields[0]), std::string(fields[1]), std::string(fields[2]), sum, weight});
  }
  return clusters;
}

double linked(const std::string& link, double mean) {
  if (link.empty()) return mean;
  if (link == "exp") return std::exp(mean);
  if (link == "sqrt") return std::sqrt(mean < 0 ? 0 : mean);  // the low end of a mean square's interval may be below 0
  double base = 0;
  check(link.starts_with("pow ") && read_number(std::string_view(link).substr(4), base) == std::errc() && base > 0,
        "a metric's link is one of those that results/clusters.h names");
  return std::pow(base, mean);
}

}  // namespace qroar
