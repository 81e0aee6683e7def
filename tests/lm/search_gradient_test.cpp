// What a search takes from the gradient by its scales.
#include <cmath>

#include "search/journal.h"
#include "search/search.h"
#include "support/catch.h"
#include "support/searched.h"

namespace qroar {
namespace {

TEST_CASE("the gradient of the guide is that at scales of 1 alone") {
  const Searched searched(", guard: 100, guide: sensitivity, strategy: {type: gradient, steps: 2}");
  const SearchResult result = searched.run();
  REQUIRE(result.summary["dev_gain"].get<double>() > 0);  // so that the second step begins elsewhere
  CHECK(result.summary["gradients"] == 2);
}

TEST_CASE("the gradient by a layout's numbers is that of the score") {
  for (const auto variant : {BandVariant::shared, BandVariant::independent, BandVariant::symmetric}) {
    for (const auto& [layers, heads] : {std::pair(1, 1), {2, 1}, {1, 2}, {2, 2}}) {
      // One step of the strategy: the gradient is in the journal.
      Searched searched(", guard: 100, guide: none, strategy: {type: gradient, steps: 1}", variant, layers,
                        at::kDouble);
      searched.what.layout.heads = heads;
      searched.run();
      const auto size = static_cast<std::size_t>(searched.what.layout.size());
      const std::vector<double> origin(size, 0);
      const Journal journal(searched.journal());
      const auto found = journal.find("gradients", origin);
      REQUIRE(found);
      const auto gradient = (*found)["by_length"].get<std::vector<std::vector<double>>>().front();
      REQUIRE(gradient.size() == size);
      WindowRule rule;
      rule.length = rule.stride = 36;
      rule.truncate = true;
      rule.feed.bos = Bos::none;
      const auto nll = [&](const std::vector<double>& point) {
        std::vector<double> g;
        for (const double x : point) g.push_back(std::exp(x));
        const Llama model = scaled_model(searched.input, {searched.what.layout, g});
        Moments sum;
        const std::vector<Window> windows = windows_of({40, 40}, rule);
        for (const auto& loss :
             evaluate({model, nullptr, searched.cell.angles_of, searched.cell.documents, windows, rule.feed}, {})) {
          sum += loss.nll;
        }
        return sum.mean();
      };
      for (std::size_t i = 0; i < size; ++i) {
        constexpr double kStep = 1e-4;
        std::vector<double> above = origin, below = origin;
        above[i] = kStep;
        below[i] = -kStep;
        INFO("variant " << static_cast<int>(variant) << " layers " << layers << " heads " << heads << " dimension "
                        << i);
        CHECK(gradient[i] == Approx((nll(above) - nll(below)) / (2 * kStep)).epsilon(1e-5).margin(1e-8));
      }
    }
  }
}

TEST_CASE("symmetric scales have the queries' gradient less the keys', which differ where the cache rounds keys") {
  const auto gradient = [](BandVariant variant) {
    Searched searched(", guard: 100, guide: none, strategy: {type: gradient, steps: 1}", variant, 1, at::kDouble);
    searched.cell.quant =
        QuantPlan(Config::parse("kv: {type: fake_quant, key: {type: rtn, bits: 2, group: 0}}", "s.yaml"),
                  searched.cell.full.config);
    searched.cell.model = apply(searched.cell.quant, prepare(searched.cell.quant, searched.cell.full), {});
    searched.run();
    const std::vector<double> origin(static_cast<std::size_t>(searched.what.layout.size()), 0);
    return (*Journal(searched.journal()).find("gradients", origin))["by_length"][0].get<std::vector<double>>();
  };
  const std::vector<double> both = gradient(BandVariant::independent), found = gradient(BandVariant::symmetric);
  REQUIRE(found.size() == 3);
  for (std::size_t b = 0; b < 3; ++b) {
    CHECK(std::abs(found[b]) > 1e-6);
    CHECK(found[b] == Approx(both[b] - both[b + 3]));
  }
}

}  // namespace
}  // namespace qroar
