// The places of losses in their window, where bins do not divide it and where the last target lies beyond it.
#include "base/interval.h"
#include "config/registry.h"
#include "eval/metric.h"
#include "support/catch.h"
#include "support/decode.h"
#include "support/llama.h"

namespace qroar {
namespace {

/// The loss of a window's token is its place among the targets, from 0 on.
std::vector<std::vector<std::string>> curve_of(bool beyond, std::string& last) {
  const auto metric =
      Registry<Metric>::instance().build(Config::parse("{type: nll_by_position, bins: 4, last: 2}", "m.yaml"));
  WindowRule rule;
  rule.length = rule.stride = 10;
  rule.feed = {Bos::none, beyond};
  metric->bind(rule, {});
  const int64_t targets = beyond ? 10 : 9;
  const at::Tensor nll_R = at::arange(targets, at::kDouble), none;
  metric->add({0, none, none, nll_R, none, none});
  const std::vector<Document> documents{{"a", std::vector<int32_t>(11)}};
  metric->take({0, 0, beyond ? 11 : 10, targets}, metric->end_window());
  last = fmt::format("{}", metric->values(Aggregate::tokens, documents).front().value);
  std::vector<std::vector<std::string>> found;
  const auto curve = metric->curve(documents);
  for (const auto& row : curve->table.rows) found.emplace_back(row.begin(), row.begin() + 4);
  return found;
}

using Rows = std::vector<std::vector<std::string>>;

TEST_CASE("a bin begins at the first place that lies in it") {
  std::string last;
  // Target k is token k + 1, at places 1 to 9 of 10: bins of 2.5 begin at places 0, 3, 5 and 8.
  CHECK(curve_of(false, last) ==
        Rows{{"0", "3", "2", "0.5"}, {"3", "5", "2", "2.5"}, {"5", "8", "3", "5"}, {"8", "10", "2", "7.5"}});
  CHECK(last == "7.5");
}

TEST_CASE("where the last target lies beyond what the model sees, a loss lies at the place that predicts it") {
  std::string last;
  CHECK(curve_of(true, last) ==
        Rows{{"0", "3", "3", "1"}, {"3", "5", "2", "3.5"}, {"5", "8", "3", "6"}, {"8", "10", "2", "8.5"}});
  CHECK(last == "8.5");
}

TEST_CASE("a bin's interval is that of its clusters, about its mean") {
  const auto metric =
      Registry<Metric>::instance().build(Config::parse("{type: nll_by_position, bins: 1, last: 2}", "m.yaml"));
  WindowRule rule;
  rule.length = rule.stride = 10;
  rule.feed.bos = Bos::none;
  metric->bind(rule, {});
  std::vector<Document> documents;
  for (const double loss : {1.0, 2.0, 1.5, 3.5}) {
    const at::Tensor nll_R = at::full({9}, loss, at::kDouble), none;
    metric->add({0, none, none, nll_R, none, none});
    metric->take({std::ssize(documents), 0, 10, 9}, metric->end_window());
    documents.push_back({std::to_string(documents.size()), std::vector<int32_t>(10)});
  }
  const Estimate expected = estimate({{9, {9}}, {9, {18}}, {9, {13.5}}, {9, {31.5}}});
  const std::vector<std::string> row = metric->curve(documents)->table.rows.at(0);
  CHECK(std::stod(row[3]) == Approx(2));
  CHECK(std::stod(row[4]) == Approx(expected.low()));
  CHECK(std::stod(row[5]) == Approx(expected.high()));
  CHECK(row[6] == "4");
}

TEST_CASE("short contexts of LongPPL have the angles of sequences of their own length") {
  const Llama model = random_llama(small_llama_config(), at::kDouble, 12);
  const Scheme scheme{make_scheme("{type: none}"), model.config};
  std::vector<int64_t> lengths;
  const AnglesOf angles_of = [&](int64_t length) {
    lengths.push_back(length);
    return scheme.angles(length);
  };
  const auto metric =
      Registry<Metric>::instance().build(Config::parse("{type: long_ppl, short: 10, step: 5}", "m.yaml"));
  WindowRule rule;
  rule.length = rule.stride = 24;
  rule.feed = {Bos::none, false};
  metric->bind(rule, {});
  const at::Tensor tokens_T = random_tokens(24);
  const ReferenceModel reference{model, angles_of};
  metric->begin_window({{0, 0, 24, 23}, tokens_T, &reference});
  CHECK(lengths == std::vector<int64_t>{15, 15, 14});  // 10 tokens and those up to 5 that are judged by them
}

}  // namespace
}  // namespace qroar
