// What a search scores, what its guard refuses and what guides it, each from what it was made of.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "diagnostics/tails.h"
#include "rope/pressure.h"
#include "search/dev_objective.h"
#include "search/journal.h"
#include "support/catch.h"
#include "support/searched.h"

namespace qroar {
namespace {

/// Columns of a search's history.
enum Column : std::size_t { kVerdict = 1, kScore = 2, kShortNll = 3, kFirstNll = 6, kSecondNll = 7 };

double number(const CsvTable& history, std::size_t row, Column column) {
  return std::stod(history.rows.at(row).at(column));
}

/// The gradient of the score at scales of 1; objectives of one journal share what they computed.
std::vector<double> gradient_at_1(const Searched& searched, Journal& journal, const std::vector<int64_t>& lengths,
                                  const std::vector<double>& weights) {
  BandSearch what = searched.what;
  what.spec.lengths = lengths;
  what.spec.weights = weights;
  return DevObjective(what, searched.input, journal).gradient(std::vector<double>(6, 0));
}

TEST_CASE("the guard refuses what raises the perplexity of short windows by more than its fraction, and nothing else") {
  Searched searched(", strategy: {type: grid}, grid: {low: 0.5, high: 2, points: 3}");
  searched.what.spec.guard = 1e6;
  const CsvTable all = searched.run().history;
  REQUIRE(all.rows.size() == 27);
  std::vector<double> rises, costly;  // of perplexity, by candidate; those above 0 from the smallest on
  for (std::size_t i = 0; i < all.rows.size(); ++i) {
    rises.push_back(std::expm1(number(all, i, kShortNll) - number(all, 0, kShortNll)));
    if (rises.back() > 0) costly.push_back(rises.back());
  }
  std::ranges::sort(costly);
  REQUIRE(costly.size() >= 4);
  for (std::size_t k = 0; k + 1 < costly.size(); k += costly.size() / 4) {
    const double guard = (costly[k] + costly[k + 1]) / 2;  // one ten times as wide would let at least the next one in
    searched.what.spec.guard = guard;
    const SearchResult guarded = searched.run();
    REQUIRE(guarded.history.rows.size() == all.rows.size());
    double best = number(all, 0, kScore);
    for (std::size_t i = 1; i < all.rows.size(); ++i) {
      CAPTURE(guard, i, rises[i]);
      const bool refused = rises[i] > guard;
      CHECK((guarded.history.rows[i][kVerdict] == "refused") == refused);
      CHECK(guarded.history.rows[i][kFirstNll].empty() == refused);
      if (!refused) best = std::min(best, number(all, i, kScore));
    }
    CHECK(guarded.summary["dev_nll"].get<double>() == best);
  }
}

TEST_CASE("the guard is half a percent where nothing is said") {
  const Scratch scratch;
  CHECK(spec_of("", scratch).guard == 0.005);
}

TEST_CASE("a score is the mean NLL of each length, weighted as asked, and so is its gradient") {
  Searched searched(", guard: 100, guide: none");
  searched.what.spec.lengths = {36, 20};
  searched.what.spec.weights = {1, 3};
  const CsvTable history = searched.run().history;
  REQUIRE(history.columns[kSecondNll] == "nll_20");
  for (std::size_t i = 0; i < history.rows.size(); ++i) {
    CHECK(number(history, i, kScore) ==
          Approx((number(history, i, kFirstNll) + 3 * number(history, i, kSecondNll)) / 4).epsilon(1e-12));
  }
  const Searched exact(", guard: 100, guide: none", BandVariant::independent, 1, at::kDouble);
  const auto journal = [&](const char* name) { return Journal(exact.scratch.folder() / name); };
  Journal of_both = journal("both"), of_longer = journal("longer"), of_shorter = journal("shorter");
  const auto longer = gradient_at_1(exact, of_longer, {36}, {1}), shorter = gradient_at_1(exact, of_shorter, {20}, {5});
  // Searches that differ in the weights alone have one journal.
  for (const double weight : {3.0, 0.5}) {
    const auto both = gradient_at_1(exact, of_both, {36, 20}, {1, weight});
    for (std::size_t i = 0; i < both.size(); ++i)
      CHECK(both[i] == Approx((longer[i] + weight * shorter[i]) / (1 + weight)).epsilon(1e-9));
  }
}

TEST_CASE("the guide is the mean pressure of a band's pairs, and the larger of the inflations of queries and keys") {
  for (const auto& [variant, layers] : {std::pair(BandVariant::shared, int64_t{1}), {BandVariant::independent, 2}}) {
    const Searched searched("", variant, layers);
    const auto& [spec, layout, control, draw] = searched.what;
    const std::vector<int64_t>& edges = layout.edges;
    Journal journal(searched.scratch.folder() / "guide/journal.jsonl");
    const auto guide = [&] {
      return guide_of(searched.what, searched.input, *searched.cell.scheme, searched.cell.geometry, journal);
    };
    const BandGuide found = guide();
    const std::vector<double> pressure = interpolation_pressure(*searched.cell.scheme, searched.cell.geometry, 36, 36);
    std::vector<ClusterWindow> windows;
    for (int64_t i = 0; i < 2; ++i) {
      const Document& document = searched.cell.documents[static_cast<std::size_t>(i)];
      windows.push_back({i, window_tokens(document, {i, 0, 36, 0}, searched.input.feed, searched.cell.full)});
    }
    const auto tails = tail_inflation(searched.cell.model, searched.cell.angles_of, searched.input.feed, windows,
                                      spec.short_length, edges, {0.99});
    const auto ratio = [&](int64_t layer, bool is_key, int64_t band) {
      const auto tail = std::ranges::find_if(tails, [&](const TailInflation& one) {
        return static_cast<int64_t>(one.layer) == layer && one.is_key == is_key && one.band == band;
      });
      REQUIRE(tail != tails.end());
      return tail->weight_ratio();
    };
    REQUIRE(std::ssize(found.inflation) == layout.size());
    REQUIRE(std::ssize(found.pressure) == layout.size());
    for (int64_t i = 0; i < layout.size(); ++i) {
      const int64_t band = i % 3, layer = i / layout.row();
      double sum = 0;
      for (int64_t pair = edges[static_cast<std::size_t>(band)]; pair < edges[static_cast<std::size_t>(band) + 1];
           ++pair)
        sum += pressure[static_cast<std::size_t>(pair)];
      const auto pairs =
          static_cast<double>(edges[static_cast<std::size_t>(band) + 1] - edges[static_cast<std::size_t>(band)]);
      CAPTURE(layers, i);
      CHECK(found.pressure[static_cast<std::size_t>(i)] == Approx(sum / pairs));
      const auto mean = [&](bool is_key) { return (ratio(0, is_key, band) + ratio(1, is_key, band)) / 2; };
      const double expected =
          layers == 1 ? std::max(mean(false), mean(true)) : ratio(layer, i % layout.row() >= 3, band);
      CHECK(found.inflation[static_cast<std::size_t>(i)] == Approx(expected));
    }
    CHECK(guide().inflation == found.inflation);  // from the journal
    CHECK(spec.guide == SearchGuide::pressure);
  }
}

TEST_CASE("the guide's pressure is that of the longest windows, where the scheme depends on the length") {
  const Searched searched("");
  const auto scheme = Registry<RopeScheme>::instance().build(Config::parse("{type: dynamic_yarn}", "r.yaml"));
  RopeGeometry geometry = searched.cell.geometry;
  geometry.trained_length = 8;
  Journal journal(searched.scratch.folder() / "guide/journal.jsonl");
  const BandGuide found = guide_of(searched.what, searched.input, *scheme, geometry, journal);
  const std::vector<double> pressure = interpolation_pressure(*scheme, geometry, 36, 36);
  const std::vector<int64_t>& edges = searched.what.layout.edges;
  for (std::size_t band = 0; band + 1 < edges.size(); ++band) {
    const auto mean = std::accumulate(pressure.begin() + edges[band], pressure.begin() + edges[band + 1], 0.0) /
                      static_cast<double>(edges[band + 1] - edges[band]);
    CHECK(found.pressure[band] == Approx(mean));
  }
  CHECK(interpolation_pressure(*scheme, geometry, 8, 36) != pressure);
}

TEST_CASE("inflation is a mean over the layers that have RoPE") {
  LlamaConfig config = small_llama_config();
  config.layers[0].rope = false;
  const auto inflation = [&](int64_t layers) {
    const Searched searched("", BandVariant::shared, layers, at::kFloat, config);
    Journal journal(searched.scratch.folder() / "guide/journal.jsonl");
    return guide_of(searched.what, searched.input, *searched.cell.scheme, searched.cell.geometry, journal).inflation;
  };
  const std::vector<double> of_both = inflation(2);
  CHECK(inflation(1) == std::vector<double>(of_both.begin() + 3, of_both.end()));
}

}  // namespace
}  // namespace qroar
