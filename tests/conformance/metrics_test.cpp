// What every registered metric must do, whichever it is.
#include <ATen/ATen.h>

#include <set>

#include "eval/metric.h"
#include "ops/ops.h"
#include "support/catch.h"

namespace qroar {
namespace {

/// Two documents, three windows; the blocks of a window have at most `rows` rows.
std::vector<MetricValue> values_with_blocks(const std::string& name, int64_t rows, Aggregate aggregate) {
  const auto entry = Registry<Metric>::instance().entries().at(name);
  auto metric = entry.make(Config::parse(entry.example, name));
  const std::vector<Window> windows{{0, 0, 100, 100}, {0, 60, 140, 40}, {1, 0, 7, 7}};
  at::manual_seed(3);
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const at::Tensor logits = at::randn({windows[w].scored, 50}),
                     targets = at::randint(50, {windows[w].scored}, at::kLong);
    for (int64_t begin = 0; begin < windows[w].scored; begin += rows) {
      const at::Tensor block = logits.slice(0, begin, begin + rows), target = targets.slice(0, begin, begin + rows);
      metric->add({windows[w], static_cast<int64_t>(w), block, target, ops::token_nll(block, target)});
    }
  }
  return metric->values(aggregate);
}

}  // namespace

TEST_CASE("all metrics are registered") { REQUIRE(Registry<Metric>::instance().entries().size() == 1); }

TEST_CASE("how windows are cut into blocks changes no metric's value, and names are unique") {
  for (const auto& [name, entry] : Registry<Metric>::instance().entries()) {
    for (const auto aggregate : {Aggregate::tokens, Aggregate::windows, Aggregate::documents}) {
      const auto whole = values_with_blocks(name, 1000, aggregate);
      REQUIRE_FALSE(whole.empty());
      for (const int64_t rows : {1, 7, 40}) {
        const auto cut = values_with_blocks(name, rows, aggregate);
        std::set<std::string> names;
        for (std::size_t i = 0; i < whole.size(); ++i) {
          INFO(whole[i].name << ", blocks of " << rows);
          REQUIRE(names.insert(cut[i].name).second);
          REQUIRE(cut[i].value == whole[i].value);
          REQUIRE(cut[i].stderr_ == whole[i].stderr_);
          REQUIRE(cut[i].count == whole[i].count);
        }
      }
    }
  }
}

TEST_CASE("perplexity averages tokens, windows or documents as asked, with counts and standard errors by hand") {
  const Config config = Config::parse("{type: perplexity}", "test");
  auto metric = Registry<Metric>::instance().build(config);
  const std::vector<Window> windows{{0, 0, 2, 2}, {0, 2, 3, 1}, {1, 0, 1, 1}};
  const std::vector<std::vector<double>> nll{{1, 3}, {5}, {2}};
  const at::Tensor unused = at::zeros({1});
  for (std::size_t w = 0; w < windows.size(); ++w) {
    metric->add({windows[w], static_cast<int64_t>(w), unused, unused, at::tensor(nll[w], at::kDouble)});
  }
  const auto mean = [&](Aggregate aggregate) { return metric->values(aggregate)[1]; };
  CHECK(mean(Aggregate::tokens).value == Approx(11.0 / 4));
  CHECK(mean(Aggregate::tokens).stderr_ == Approx(std::sqrt((39 - 121.0 / 4) / 3 / 4)));
  CHECK(mean(Aggregate::tokens).count == 4);
  CHECK(mean(Aggregate::windows).value == Approx((2 + 5 + 2) / 3.0));
  CHECK(mean(Aggregate::windows).count == 3);
  CHECK(mean(Aggregate::documents).value == Approx((3 + 2) / 2.0));
  CHECK(mean(Aggregate::documents).stderr_ == Approx(0.5));
  const auto perplexity = metric->values(Aggregate::tokens)[0];
  CHECK(perplexity.value == Approx(std::exp(2.75)));
  CHECK(perplexity.stderr_ == Approx(std::exp(2.75) * mean(Aggregate::tokens).stderr_));
}

}  // namespace qroar
