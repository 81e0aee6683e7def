// clusters.csv: what was read is written and read again to the bit.
#include "base/files.h"
#include "fuzz.h"
#include "results/clusters.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const std::vector<ClusterRecord> clusters = read_clusters(scratch().write("clusters.csv", std::string(input)));
  for (const ClusterRecord& cluster : clusters) must(cluster.weight > 0, "a weight");
  const std::string text = clusters_csv(clusters);
  const auto again = read_clusters(scratch().write("again.csv", text));
  must(again.size() == clusters.size(), "the number of clusters");
  for (std::size_t i = 0; i < again.size(); ++i) {
    must(again[i].sum == clusters[i].sum && again[i].weight == clusters[i].weight, "numbers to the bit");
  }
  must(clusters_csv(again) == text, "the same text twice");
}

}  // namespace qroar
