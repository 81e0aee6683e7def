// The standard errors of metrics, worked out by hand.
#include "config/registry.h"
#include "eval/metric.h"
#include "support/catch.h"

namespace qroar {
namespace {

TEST_CASE("the errors of a divergence's numbers are those of a mean, and of a root of one by its slope") {
  auto metric = Registry<Metric>::instance().build(Config::parse("{type: kl_divergence}", "test"));
  const at::Tensor p = at::tensor({0.5, 0.25, 0.25}).log().unsqueeze(0),
                   q = at::tensor({0.25, 0.5, 0.25}).log().unsqueeze(0);
  const at::Tensor target = at::tensor({1}, at::kLong), nll = at::tensor({0.0}, at::kDouble);
  const Window window{0, 0, 2, 2};
  metric->add({0, p, target, nll, p, nll});
  metric->add({1, q, target, nll, p, nll});  // the target has 0.25 more, and the first choice is another one
  metric->take(window, metric->end_window());
  const auto values = metric->values(Aggregate::tokens, {{"a", std::vector<int32_t>(100)}});
  CHECK(values[1].stderr_ == Approx(0.5));  // of 1 and 0
  CHECK(values[2].value == Approx(0.125));  // of 0 and 0.25, which the model adds
  CHECK(values[2].stderr_ == Approx(0.125));
  CHECK(values[3].stderr_ ==
        Approx(0.03125 / (2 * 0.25 / std::sqrt(2.0))));  // of 0 and 0.0625, and d sqrt x = dx / (2 sqrt x)
}

TEST_CASE("the errors of losses by word and byte are those of a ratio of sums over documents") {
  auto metric = Registry<Metric>::instance().build(Config::parse("{type: bits_per_byte}", "test"));
  metric->take({0, 0, 5, 5}, 6.0);
  metric->take({1, 0, 5, 5}, 9.0);
  const std::vector<int32_t> tokens(5);
  const auto values = metric->values(Aggregate::tokens, {{"a", tokens, 2, 10}, {"b", tokens, 4, 20}});
  // 15 / 6 nats a word, from which the documents are off by 1 and -1: sqrt(2 * (1 + 1)) / 6.  Bytes: the same by 30.
  CHECK(values[0].stderr_ == Approx(std::exp(2.5) * 2 / 6));
  CHECK(values[1].stderr_ == Approx(std::exp(0.5) * 2 / 30));
  CHECK(values[2].stderr_ == Approx(2 / 30.0 / std::log(2.0)));
}

}  // namespace
}  // namespace qroar
