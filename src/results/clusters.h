// cells/<id>/clusters.csv: what every metric comes to in each cluster (a document, a group of documents, a question).
// All intervals, of one row and of differences of rows, are made of these (docs/method.md 5).
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace qroar {

/// The metric's value is linked(link, sum of all sums / sum of all weights), with the link of its row.json.
struct ClusterRecord {
  std::string metric, group;
  std::string scored;  ///< hash of what was scored there: two rows are compared where it is the same
  double sum = 0, weight = 0;
};

std::string clusters_csv(const std::vector<ClusterRecord>& clusters);

/// Reads clusters.csv.  Throws an Error with file:line for a line that is not one of this program's, and for a missing
/// file.
std::vector<ClusterRecord> read_clusters(const std::filesystem::path& file);

/// Returns the metric's value from the mean over clusters.  `link` is the mean itself (empty), "exp", "sqrt" or "pow
/// BASE"; all increase, so that an interval's ends may be linked each by itself.
double linked(const std::string& link, double mean);

}  // namespace qroar
