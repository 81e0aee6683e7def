#include <algorithm>

#include "diagnostics/tails.h"
#include "rope/pressure.h"
#include "search/space.h"

namespace qroar {
namespace {

constexpr std::size_t kDocuments = 2;  ///< of the dev documents, whose tails are compared
constexpr double kQuantile = 0.99;

/// Mean over a band's pairs.
std::vector<double> by_band(const std::vector<double>& by_pair, const std::vector<int64_t>& edges) {
  std::vector<double> means;
  for (std::size_t b = 0; b + 1 < edges.size(); ++b) {
    Moments pairs;
    for (int64_t pair = edges[b]; pair < edges[b + 1]; ++pair) pairs.add(by_pair[static_cast<std::size_t>(pair)]);
    means.push_back(pairs.mean());
  }
  return means;
}

}  // namespace

BandGuide guide_of(const BandSearch& search, const SearchInput& input, const RopeScheme& scheme,
                   const RopeGeometry& geometry) {
  const BandLayout& layout = search.layout;
  const int64_t longest = std::ranges::max(search.spec.lengths);
  const auto tokens_of = [&](int64_t length) {
    std::vector<at::Tensor> tokens;
    for (std::size_t i = 0; i < std::min(kDocuments, input.documents.size()); ++i) {
      const Document& document = input.documents[i];
      const int64_t end = std::min<int64_t>(length, std::ssize(document.tokens));
      const Window window{static_cast<int64_t>(i), 0, end - (input.bos ? 1 : 0), 0};
      tokens.push_back(window_tokens(document, window, input.bos, input.quantized));
    }
    return tokens;
  };
  const auto tails = tail_inflation(input.quantized, input.angles_of, tokens_of(search.spec.short_length),
                                    tokens_of(longest), layout.edges, {kQuantile});
  const bool independent = layout.variant == BandVariant::independent;
  const auto layers = static_cast<double>(input.full.layers.size());
  const auto at = [&](int64_t layer, bool is_key, int64_t band) {
    return static_cast<std::size_t>(layer * layout.row() + (independent && is_key ? layout.bands() : 0) + band);
  };
  BandGuide guide;
  guide.pressure.resize(static_cast<std::size_t>(layout.size()));
  guide.inflation.assign(guide.pressure.size(), 0);
  const std::vector<double> pressure =
      by_band(interpolation_pressure(scheme, geometry, longest, static_cast<double>(longest)), layout.edges);
  std::vector<double> queries(guide.pressure.size(), 0), keys(guide.pressure.size(), 0);
  for (const TailInflation& tail : tails) {
    const int64_t layer = layout.layers == 1 ? 0 : static_cast<int64_t>(tail.layer);
    const double share = layout.layers == 1 ? tail.weight_ratio / layers : tail.weight_ratio;
    (tail.is_key ? keys : queries)[at(layer, tail.is_key, tail.band)] += share;
    guide.pressure[at(layer, tail.is_key, tail.band)] = pressure[static_cast<std::size_t>(tail.band)];
  }
  for (std::size_t i = 0; i < guide.inflation.size(); ++i) guide.inflation[i] = std::max(queries[i], keys[i]);
  return guide;
}

}  // namespace qroar
