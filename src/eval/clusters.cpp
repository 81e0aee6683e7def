#include "eval/clusters.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"

namespace qroar {

void ByCluster::add(const std::string& group, const std::string& unit, double sum, double weight) {
  constexpr std::size_t kDigits = 16;
  if (weight == 0) return;
  const auto [place, fresh] = place_.emplace(group, clusters_.size());
  if (fresh) clusters_.push_back({group, "", 0, 0});
  ScoredCluster& cluster = clusters_[place->second];
  cluster.scored = hash_bytes(cluster.scored + '\n' + unit).substr(0, kDigits);
  cluster.sum += sum;
  cluster.weight += weight;
}

namespace {

/// Returns what names the scored part of a window: rows over another text, or another tokenizer's tokens, scored
/// something else even where ids, places and counts are equal.
std::string scored_in(const Window& window, const Document& document, int64_t tokens) {
  check(window.scored <= window.end && window.end <= std::ssize(document.tokens), "a window lies in its document");
  const int32_t* first = document.tokens.data() + (window.end - window.scored);
  const std::string_view targets(reinterpret_cast<const char*>(first), sizeof(int32_t) * window.scored);
  return fmt::format("{}\n{}\n{}\n{}", document.id, window.begin, tokens, hash_bytes(targets));
}

}  // namespace

std::vector<ScoredCluster> WindowsByCluster::all(const std::vector<Document>& documents, Aggregate aggregate) const {
  std::map<int64_t, int64_t> document_tokens;
  for (const Part& part : windows_) document_tokens[part.window.document] += part.tokens;
  ByCluster by_cluster;
  for (const auto& [window, tokens, sum] : windows_) {
    const Document& document = documents[static_cast<std::size_t>(window.document)];
    int64_t size = 1;  // tokens that together have the weight 1
    if (aggregate == Aggregate::windows) size = tokens;
    if (aggregate == Aggregate::documents) size = document_tokens[window.document];
    if (size == 0) continue;
    by_cluster.add(document.cluster(), scored_in(window, document, tokens), sum / static_cast<double>(size),
                   static_cast<double>(tokens) / static_cast<double>(size));
  }
  return by_cluster.all();
}

Estimate estimate(const std::vector<ScoredCluster>& clusters, Averaged averaged) {
  std::vector<ClusterSums> sums;
  for (const ScoredCluster& cluster : clusters) sums.push_back({cluster.weight, {cluster.sum}});
  return estimate(sums, averaged);
}

}  // namespace qroar
