// Which windows a search scores, what it counts them as, and whose scores it takes.
#include "diagnostics/tails.h"
#include "search/dev_objective.h"
#include "search/journal.h"
#include "support/catch.h"
#include "support/searched.h"

namespace qroar {
namespace {

/// Columns of a search's history.
enum Column : std::size_t { kShortNll = 3, kFirstNll = 6 };

TEST_CASE("the guard looks at windows no longer than the shortest that is scored") {
  Searched searched(", guard: 100, guide: none");  // short_length: 12
  searched.what.spec.lengths = {10, 36};
  searched.what.spec.weights = {1, 1};
  for (const auto& row : searched.run().history.rows) CHECK(row[kShortNll] == row[kFirstNll]);
  searched.what.spec.lengths = {20, 36};
  for (const auto& row : searched.run().history.rows) CHECK(row[kShortNll] != row[kFirstNll]);
}

TEST_CASE("the proxy looks at two windows, which cost a forward of each of two models") {
  Searched searched(", guard: 100, strategy: {type: layerwise, probes: 0}");
  std::vector<Document>& documents = searched.cell.documents;
  documents.push_back(documents[0]);
  documents.back().id = "c";
  const SearchResult result = searched.run();
  const LlamaConfig& llama = searched.cell.full.config;
  const double share = forward_flops(llama, 12) / forward_flops(llama, 36);  // of the guard's windows
  CHECK(result.summary["refused"] == 0);
  CHECK(result.summary["cost"].get<double>() ==
        Approx(result.summary["candidates"].get<double>() * (1 + share) + 2 * 2 / 3.0));
}

TEST_CASE("the guide's windows have the length that is scored, with a token before the text, too") {
  for (const Bos bos : {Bos::none, Bos::every}) {
    Searched searched("", BandVariant::independent, 2);
    searched.cell.full.config.bos_token_id = searched.cell.model.config.bos_token_id = 1;
    const Feed feed{bos, false};
    const SearchInput input{searched.cell.full,      searched.cell.quant,     searched.quantized,
                            searched.cell.angles_of, searched.cell.documents, feed};
    Journal journal(searched.scratch.folder() / "guide/journal.jsonl");
    const std::vector<double> found =
        guide_of(searched.what, input, *searched.cell.scheme, searched.cell.geometry, journal).inflation;
    std::vector<ClusterWindow> windows;
    for (int64_t i = 0; i < 2; ++i) {
      const std::vector<int32_t>& text = searched.cell.documents[static_cast<std::size_t>(i)].tokens;
      std::vector<int64_t> tokens(text.begin(), text.begin() + 36);
      if (bos == Bos::every) {
        tokens.pop_back();
        tokens.insert(tokens.begin(), 1);
      }
      windows.push_back({i, at::tensor(tokens, at::kLong)});
    }
    const BandLayout& layout = searched.what.layout;
    for (const TailInflation& tail :
         tail_inflation(searched.cell.model, searched.cell.angles_of, feed, windows, 12, layout.edges, {0.99})) {
      const auto place = static_cast<std::size_t>(static_cast<int64_t>(tail.layer) * layout.row() +
                                                  (tail.is_key ? layout.bands() : 0) + tail.band);
      CHECK(found[place] == Approx(tail.weight_ratio()));
    }
  }
}

TEST_CASE("one temperature has an odd number of points, and no more than were paid for") {
  for (const int budget : {7, 8, 9, 10}) {
    Searched searched(fmt::format(", guard: 100, guide: none, strategy: {{type: random}}, budget: {}", budget));
    const double spent = searched.run().summary["cost"];
    searched.what.control = SearchControl::temperature;
    const Json one = searched.run().summary;
    CAPTURE(budget);
    CHECK(one["candidates"].get<int64_t>() % 2 == 1);
    CHECK(one["cost"].get<double>() <= spent * (1 + 1e-9));
  }
}

TEST_CASE("a search of other bands or lengths takes no scores from another one's journal") {
  const auto of = [](const Searched& searched) { return searched.run().history.rows; };
  const auto set_bands = [](Searched& searched) { searched.what.layout.edges = {0, 1, 2, 8}; };
  const auto set_lengths = [](Searched& searched) { searched.what.spec.lengths = {30}; };
  for (const auto& change : {std::function<void(Searched&)>(set_bands), std::function<void(Searched&)>(set_lengths)}) {
    std::vector<std::vector<std::string>> alone;
    {
      Searched fresh(", guard: 100, guide: none");
      change(fresh);
      alone = of(fresh);
    }
    Searched after(", guard: 100, guide: none");
    of(after);
    change(after);
    CHECK(of(after) == alone);
  }
}

}  // namespace
}  // namespace qroar
