#include <algorithm>

#include "diagnostics/tails.h"
#include "rope/pressure.h"
#include "search/space.h"

namespace qroar {
namespace {

constexpr std::size_t kDocuments = 2;  ///< number of dev documents whose tails are compared
constexpr double kQuantile = 0.99;

/// Returns the mean over each band's pairs.
std::vector<double> by_band(const std::vector<double>& by_pair, const std::vector<int64_t>& edges) {
  std::vector<double> means;
  for (std::size_t b = 0; b + 1 < edges.size(); ++b) {
    Moments pairs;
    for (int64_t pair = edges[b]; pair < edges[b + 1]; ++pair) pairs.add(by_pair[static_cast<std::size_t>(pair)]);
    means.push_back(pairs.mean());
  }
  return means;
}

/// Returns the index of a band's number in a layout.
std::size_t dimension_of(const BandLayout& layout, int64_t layer, int64_t head, bool is_key, int64_t band) {
  const bool apart = layout.variant == BandVariant::independent && is_key;
  return static_cast<std::size_t>((layout.layers == 1 ? 0 : layer) * layout.row() + head * layout.head_row() +
                                  (apart ? layout.bands() : 0) + band);
}

std::vector<double> measured_inflation(const BandSearch& search, const SearchInput& input) {
  const BandLayout& layout = search.layout;
  std::vector<ClusterWindow> windows;
  for (std::size_t i = 0; i < std::min(kDocuments, input.documents.size()); ++i) {
    const Document& document = input.documents[i];
    const int64_t end = std::min<int64_t>(std::ranges::max(search.spec.lengths), std::ssize(document.tokens));
    const Window window{static_cast<int64_t>(i), 0, end - input.feed.added(), 0};
    windows.push_back({window.document, window_tokens(document, window, input.feed, input.full)});
  }
  const auto tails = tail_inflation(input.quantized().model, input.angles_of, input.feed, windows,
                                    search.spec.short_length, layout.edges, {kQuantile});
  const auto layers = static_cast<double>(
      std::ranges::count_if(input.full.layers, [](const DecoderLayer& layer) { return layer.heads.rope; }));
  std::vector<double> queries(static_cast<std::size_t>(layout.size()), 0), keys = queries, larger;
  for (const TailInflation& tail : tails) {
    const double share = layout.layers == 1 ? tail.weight_ratio() / layers : tail.weight_ratio();
    for (int64_t head = 0; head < layout.heads; ++head) {
      const std::size_t at = dimension_of(layout, static_cast<int64_t>(tail.layer), head, tail.is_key, tail.band);
      (tail.is_key ? keys : queries)[at] += share;
    }
  }
  for (std::size_t i = 0; i < queries.size(); ++i) larger.push_back(std::max(queries[i], keys[i]));
  return larger;
}

}  // namespace

BandGuide guide_of(const BandSearch& search, const SearchInput& input, const RopeScheme& scheme,
                   const RopeGeometry& geometry, Journal& journal) {
  const BandLayout& layout = search.layout;
  const int64_t longest = std::ranges::max(search.spec.lengths);
  const std::vector<double> pressure =
      by_band(interpolation_pressure(scheme, geometry, longest, static_cast<double>(longest)), layout.edges);
  BandGuide guide;
  for (int64_t i = 0; i < layout.size(); ++i) {
    guide.pressure.push_back(pressure[static_cast<std::size_t>(i % layout.bands())]);
  }
  if (const auto known = journal.find("matched_inflation", {})) {
    guide.inflation = (*known)["inflation"].get<std::vector<double>>();
  } else {
    guide.inflation = measured_inflation(search, input);
    journal.add("matched_inflation", {}, {{"inflation", guide.inflation}});
  }
  return guide;
}

}  // namespace qroar
