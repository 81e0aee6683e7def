// What every registered metric must do, whichever it is.
#include <ATen/ATen.h>

#include <set>

#include "eval/metric.h"
#include "model/angles.h"
#include "model/llama.h"
#include "results/clusters.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/llama.h"
#include "support/rope.h"

namespace qroar {
namespace {

/// Two documents, three windows; the blocks of a window have at most `rows` rows.  With `through_text`, what a window
/// comes to goes through JSON text, as after a kill.
struct Scored {
  std::vector<Document> documents{{"a", std::vector<int32_t>(140), 70, 400}, {"b", std::vector<int32_t>(7), 5, 25}};
  std::vector<Window> windows{{0, 0, 100, 100}, {0, 60, 140, 40}, {1, 0, 7, 7}};
  Llama model = random_llama(small_llama_config(), at::kFloat, 3);
  std::unique_ptr<RopeScheme> scheme = make_scheme("{type: none}");
  AnglesOf angles_of = [this](int64_t length) {
    const LlamaConfig& config = model.config;
    const RopeGeometry geometry = config.rope_geometry(512);
    return rope_angles(scheme->table(geometry, length), length, at::kFloat, at::kCPU, false);
  };

  std::unique_ptr<Metric> metric(const std::string& name, int64_t rows, bool through_text = false) {
    const auto entry = Registry<Metric>::instance().entries().at(name);
    Config example = Config::parse(entry.example, name);
    if (name == "long_ppl")
      example = Config::parse("{type: long_ppl, short: 16, step: 8, alpha: 0.01, beta: -100}", name);
    auto metric = entry.make(name == "nll_by_position" ? Config::parse("{bins: 5, last: 20}", name) : example);
    WindowRule rule;
    rule.length = 101;
    rule.stride = 60;
    metric->bind(rule, {});
    at::manual_seed(3);
    const int64_t V = model.config.vocab_size;
    for (const Window& window : windows) {
      const at::Tensor tokens = at::randint(V, {window.end - window.begin + 1}, at::kLong);
      const at::Tensor logits = at::randn({window.scored, V}), reference = logits + 0.3 * at::randn({window.scored, V});
      const int64_t first = tokens.size(0) - 1 - window.scored;
      const at::Tensor targets = tokens.slice(0, first + 1);
      const ReferenceModel compared{model, angles_of};
      metric->begin_window({window, tokens, &compared});
      for (int64_t begin = 0; begin < window.scored; begin += rows) {
        const auto part = [&](const at::Tensor& x) { return x.slice(0, begin, begin + rows); };
        metric->add({first + begin, part(logits), part(targets), ops::token_nll(part(logits), part(targets)),
                     part(reference), ops::token_nll(part(reference), part(targets))});
      }
      const Json sums = metric->end_window();
      metric->take(window, through_text ? Json::parse(sums.dump()) : sums);
    }
    return metric;
  }
};

void check_equal(const std::vector<MetricValue>& a, const std::vector<MetricValue>& b) {
  REQUIRE(a.size() == b.size());
  std::set<std::string> names;
  for (std::size_t i = 0; i < a.size(); ++i) {
    INFO(a[i].name);
    REQUIRE(names.insert(b[i].name).second);
    REQUIRE(b[i].value == a[i].value);
    REQUIRE((b[i].stderr_ == a[i].stderr_ || (std::isnan(a[i].stderr_) && std::isnan(b[i].stderr_))));
    REQUIRE(b[i].count == a[i].count);
    REQUIRE(b[i].clusters.size() == a[i].clusters.size());
    for (std::size_t c = 0; c < a[i].clusters.size(); ++c) {
      REQUIRE(b[i].clusters[c].sum == a[i].clusters[c].sum);
      REQUIRE(b[i].clusters[c].scored == a[i].clusters[c].scored);
    }
  }
}

}  // namespace

TEST_CASE("metrics are registered") { REQUIRE(!Registry<Metric>::instance().entries().empty()); }

TEST_CASE(
    "neither how windows are cut into blocks nor a way over the disk changes a metric's value; names are unique") {
  Scored scored;
  for (const auto& [name, entry] : Registry<Metric>::instance().entries()) {
    INFO(name);
    const auto whole = scored.metric(name, 1000);
    for (const auto aggregate : {Aggregate::tokens, Aggregate::windows, Aggregate::documents}) {
      const auto values = whole->values(aggregate, scored.documents);
      REQUIRE_FALSE(values.empty());
      for (const int64_t rows : {1, 7, 40})
        check_equal(values, scored.metric(name, rows)->values(aggregate, scored.documents));
      check_equal(values, scored.metric(name, 1000, /*through_text=*/true)->values(aggregate, scored.documents));
    }
  }
}

TEST_CASE("a metric's clusters come to its value through its link, and one group of all documents is one cluster") {
  Scored scored;
  for (const auto& [name, entry] : Registry<Metric>::instance().entries()) {
    const auto metric = scored.metric(name, 1000);
    for (const auto aggregate : {Aggregate::tokens, Aggregate::windows, Aggregate::documents}) {
      for (const MetricValue& value : metric->values(aggregate, scored.documents)) {
        INFO(value.name);
        if (value.clusters.empty()) {
          CHECK(value.name.starts_with("delta_p_"));
          continue;
        }
        CHECK(value.clusters.size() <= 2);
        CHECK(linked(value.link, estimate(value.clusters).value) == Approx(value.value));
        for (const ScoredCluster& cluster : value.clusters) CHECK(cluster.weight > 0);
        std::vector<Document> grouped = scored.documents;
        for (Document& document : grouped) document.group = "one";
        const auto values = metric->values(aggregate, grouped);
        const MetricValue& other = *std::ranges::find(values, value.name, &MetricValue::name);
        CHECK(other.clusters.size() == 1);
        CHECK(other.value == value.value);
      }
    }
  }
}

TEST_CASE("clusters of other windows, or of fewer scored tokens, have other hashes of what was scored") {
  const std::vector<int32_t> tokens{0, 1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<Document> documents{{"a", tokens, 1, 1, "book"}, {"b", tokens, 1, 1, "book"}};
  const auto scored = [&](const std::vector<Window>& windows, double nll = 1) {
    WindowsByCluster by_cluster;
    for (const Window& window : windows) by_cluster.add(window, window.scored, nll);
    const auto clusters = by_cluster.all(documents);
    REQUIRE(clusters.size() == 1);
    CHECK(clusters[0].group == "book");
    CHECK(clusters[0].sum == nll * static_cast<double>(windows.size()));
    CHECK(clusters[0].scored.size() == 16);
    return clusters[0].scored;
  };
  const std::string one = scored({{0, 0, 8, 8}, {1, 0, 8, 8}});
  CHECK(scored({{0, 0, 8, 8}, {1, 0, 8, 8}}, 2) == one);
  CHECK(scored({{0, 0, 8, 8}}) != one);
  CHECK(scored({{0, 0, 8, 8}, {0, 0, 8, 8}}) != one);
  CHECK(scored({{0, 0, 8, 8}, {1, 0, 8, 7}}) != one);
  CHECK(scored({{0, 0, 8, 8}, {1, 1, 9, 8}}) != one);
  CHECK(scored({{0, 0, 8, 8}, {1, 0, 9, 8}}) != one);       // as many, one token later
  CHECK(scored({{1, 0, 8, 7}}) != scored({{1, 1, 8, 7}}));  // the same tokens behind one less
  documents[1].tokens[7] = 9;
  CHECK(scored({{0, 0, 8, 8}, {1, 0, 8, 8}}) != one);
  documents[1].tokens = tokens;
  documents[1].tokens[8] = 9;
  CHECK(scored({{0, 0, 8, 8}, {1, 0, 8, 8}}) == one);
}

TEST_CASE("perplexity averages tokens, windows or documents as asked, with counts and standard errors by hand") {
  const Config config = Config::parse("{type: perplexity}", "test");
  auto metric = Registry<Metric>::instance().build(config);
  const std::vector<Window> windows{{0, 0, 2, 2}, {0, 2, 3, 1}, {1, 0, 1, 1}};
  const std::vector<std::vector<double>> nll{{1, 3}, {5}, {2}};
  const at::Tensor unused = at::zeros({1});
  for (std::size_t w = 0; w < windows.size(); ++w) {
    metric->add({0, unused, unused, at::tensor(nll[w], at::kDouble), unused, unused});
    metric->take(windows[w], metric->end_window());
  }
  const std::vector<Document> documents{{"a", std::vector<int32_t>(100)}, {"b", std::vector<int32_t>(100)}};
  const auto mean = [&](Aggregate aggregate) { return metric->values(aggregate, documents)[1]; };
  CHECK(mean(Aggregate::tokens).value == Approx(11.0 / 4));
  CHECK(mean(Aggregate::tokens).stderr_ == Approx(std::sqrt((39 - 121.0 / 4) / 3 / 4)));
  CHECK(mean(Aggregate::tokens).count == 4);
  CHECK(mean(Aggregate::windows).value == Approx((2 + 5 + 2) / 3.0));
  CHECK(mean(Aggregate::windows).count == 3);
  CHECK(mean(Aggregate::documents).value == Approx((3 + 2) / 2.0));
  CHECK(mean(Aggregate::documents).stderr_ == Approx(0.5));
  for (const auto& [aggregate, sum, weight] :
       {std::tuple(Aggregate::tokens, 9, 3), {Aggregate::windows, 7, 2}, {Aggregate::documents, 3, 1}}) {
    CHECK(mean(aggregate).clusters[0].sum == Approx(sum));
    CHECK(mean(aggregate).clusters[0].weight == Approx(weight));
  }
  const auto perplexity = metric->values(Aggregate::tokens, documents)[0];
  CHECK(perplexity.link == "exp");
  CHECK(perplexity.value == Approx(std::exp(2.75)));
  CHECK(perplexity.stderr_ == Approx(std::exp(2.75) * mean(Aggregate::tokens).stderr_));
}

TEST_CASE("the divergence from a model with itself is 0, and from another what its definition says") {
  auto metric = Registry<Metric>::instance().build(Config::parse("{type: kl_divergence}", "test"));
  const at::Tensor p = at::tensor({0.5, 0.25, 0.25}).log().unsqueeze(0),
                   q = at::tensor({0.125, 0.625, 0.25}).log().unsqueeze(0);
  const at::Tensor target = at::tensor({1}, at::kLong), nll = at::tensor({0.0}, at::kDouble);
  const Window window{0, 0, 2, 2};
  metric->add({0, p, target, nll, p, nll});
  metric->add({1, q, target, nll, p, nll});  // the model says q, full precision p
  metric->take(window, metric->end_window());
  const auto values = metric->values(Aggregate::tokens, {{"a", std::vector<int32_t>(100)}});
  CHECK(values[0].name == "kl_divergence");
  CHECK(values[0].value == Approx((0.5 * std::log(4.0) + 0.25 * std::log(0.4)) / 2).epsilon(1e-6));
  CHECK(values[1].name == "top1_agreement");
  CHECK(values[1].value == 0.5);
  CHECK(values[2].name == "delta_p");
  CHECK(values[2].value == Approx(0.1875));
  CHECK(values[3].name == "delta_p_rms");
  CHECK(values[3].value == Approx(0.375 / std::sqrt(2.0)));
  for (const auto& [i, percent] : {std::pair(4, 1), {5, 5}, {6, 50}, {7, 95}, {8, 99}}) {
    const MetricValue& value = values[static_cast<std::size_t>(i)];
    CHECK(value.name == fmt::format("delta_p_{}", percent));
    CHECK(value.value == Approx(0.375 * percent / 100));  // between 0 and 0.375, as numpy.percentile has it
  }
}

TEST_CASE("words and bytes are counted by document, and a document without counts is refused") {
  Scored scored;
  const auto metric = scored.metric("bits_per_byte", 1000);
  const auto nll = scored.metric("perplexity", 1000)->values(Aggregate::tokens, scored.documents)[1];
  const double sum = nll.value * static_cast<double>(nll.count);
  const auto values = metric->values(Aggregate::tokens, scored.documents);
  CHECK(values[0].value == Approx(std::exp(sum / 75)));
  CHECK(values[1].value == Approx(std::exp(sum / 425)));
  CHECK(values[2].value == Approx(sum / 425 / std::log(2.0)));
  const auto refusal = [&] { return error_text([&] { metric->check(scored.documents, scored.windows); }); };
  CHECK(refusal() == "(no error)");
  scored.documents[0].words = 0;
  CHECK(contains(refusal(), "document 'a'"));
  scored.documents[0].words = 70;
  scored.documents[1].bytes = 0;
  CHECK(contains(refusal(), "document 'b'"));
  WindowRule cut;
  cut.length = cut.stride = 8;
  cut.truncate = true;
  CHECK(contains(error_text([&] { metric->bind(cut, {}); }), "score every token of a document once"));
}

TEST_CASE("key tokens are those whose loss rises without the long context") {
  Scored scored;
  const auto long_ppl = scored.metric("long_ppl", 1000);
  const auto values = long_ppl->values(Aggregate::tokens, scored.documents);
  REQUIRE(values.back().name == "key_tokens");
  CHECK(values.back().value > 0);
  CHECK(values.back().value < 1);
  CHECK(values.front().count == std::llround(values.back().value * static_cast<double>(values.back().count)));
}

TEST_CASE("a token is key by its loss in a short context that ends at it, and by that in the long one") {
  const LlamaConfig config = small_llama_config();
  const Llama model = random_llama(config, at::kDouble, 3);
  const auto scheme = make_scheme("{type: none}");
  const RopeGeometry geometry = config.rope_geometry(512);
  const AnglesOf angles_of = [&](int64_t length) {
    return rope_angles(scheme->table(geometry, length), length, at::kDouble, at::kCPU, false);
  };
  const ReferenceModel reference{model, angles_of};
  constexpr int64_t kTokens = 45, kShort = 16, kStep = 8;
  constexpr double kAlpha = 0.3, kMost = 2.5;
  at::manual_seed(4);
  const at::Tensor tokens = at::randint(config.vocab_size, {kTokens}, at::kLong),
                   full = at::rand({kTokens - 1}, at::kDouble) * 5, own = at::rand({kTokens - 1}, at::kDouble) * 5;
  auto metric = Registry<Metric>::instance().build(
      Config::parse("{type: long_ppl, short: 16, step: 8, alpha: 0.3, beta: -2.5}", "test"));
  WindowRule rule;
  rule.length = kTokens;
  metric->bind(rule, {});
  const Window window{0, 0, kTokens, kTokens - 1};
  metric->begin_window({window, tokens, &reference});
  const at::Tensor unused = at::zeros({1});
  metric->add({0, unused, unused, own, unused, full});
  metric->take(window, metric->end_window());
  double sum = 0;
  int64_t keys = 0;
  Moments losses;
  for (int64_t token = kShort; token < kTokens; ++token) {
    const int64_t begin = (token - kShort) / kStep * kStep;
    const at::Tensor seen = tokens.slice(0, begin, token);
    const at::Tensor hidden = forward(model, seen, angles_of(token - begin));
    const at::Tensor logits_1V = logits(model, hidden.slice(0, -1));
    const double in_short = ops::token_nll(logits_1V, tokens.slice(0, token, token + 1)).item<double>(),
                 in_long = full[token - 1].item<double>();
    if (in_short - in_long <= kAlpha || in_long >= kMost) continue;
    sum += own[token - 1].item<double>();
    losses.add(own[token - 1].item<double>());
    ++keys;
  }
  REQUIRE(keys > 5);
  const auto values = metric->values(Aggregate::tokens, {{"a", std::vector<int32_t>(100)}});
  CHECK(values[0].count == keys);
  CHECK(values[0].value == Approx(std::exp(sum / static_cast<double>(keys))));
  CHECK(values[0].stderr_ == Approx(values[0].value * losses.standard_error()));
  const double share = static_cast<double>(keys) / (kTokens - 1);
  CHECK(values[1].value == Approx(share));
  CHECK(values[1].stderr_ == Approx(std::sqrt(share * (1 - share) / (kTokens - 1))));
}

TEST_CASE("losses by position lie in the bins of their places, and the last ones at the end") {
  Scored scored;
  const auto metric = scored.metric("nll_by_position", 1000);
  const auto curve = metric->curve(scored.documents);
  REQUIRE(curve);
  CHECK(curve->table.columns == std::vector<std::string>{"begin", "end", "tokens", "nll", "low", "high", "clusters"});
  REQUIRE(curve->points.size() == curve->table.rows.size());
  CHECK(curve->points[0].name == "nll_by_position/0-21");
  CHECK(curve->table.rows[0][4] == "nan");  // of two documents
  CHECK(curve->table.rows[0][6] == "2");
  int64_t tokens = 0;
  for (const auto& row : curve->table.rows) tokens += std::stoll(row[2]);
  CHECK(tokens == 147);
  CHECK(metric->values(Aggregate::tokens, scored.documents).front().name == "nll_last_20");
  CHECK(metric->values(Aggregate::tokens, scored.documents).front().count ==
        20);  // of the one window that is 101 tokens long
}

namespace {

/// What a metric says of windows of `length` that see BOS and so many tokens of text, or, with `beyond`, those but one.
std::string refusal(const std::string& yaml, int64_t length, const std::vector<int64_t>& texts, bool beyond = false) {
  const auto metric = Registry<Metric>::instance().build(Config::parse(yaml, "m.yaml"));
  WindowRule rule;
  rule.length = rule.stride = length;
  if (beyond) rule.feed = {Bos::none, true};
  metric->bind(rule, {});
  std::vector<Window> windows;
  std::vector<Document> documents;
  for (const int64_t tokens : texts) {
    windows.push_back({std::ssize(documents), 0, tokens, tokens - (beyond ? 1 : 0)});
    documents.push_back({"d", std::vector<int32_t>(static_cast<std::size_t>(tokens)), 1, 1});
  }
  return error_text([&] { metric->check(documents, windows); });
}

}  // namespace

TEST_CASE("a metric that no window can feed is refused with its place and a remedy, one token before it could be") {
  const std::string last = "{type: nll_by_position, bins: 4, last: 16}";
  CHECK(refusal(last, 64, {47}) ==
        "m.yaml:1:1: no token lies in the last 16 of 64 places: the longest window has 48; set windows.length: 48 or "
        "less, or last: 17 or more");
  CHECK(refusal(last, 64, {20, 48, 10}) == "(no error)");
  CHECK(refusal("{type: nll_by_position, bins: 4, last: 17}", 64, {47}) == "(no error)");
  CHECK(contains(refusal(last, 64, {49}, /*beyond=*/true), "the longest window has 48"));
  CHECK(refusal(last, 64, {50}, /*beyond=*/true) == "(no error)");
  const std::string long_ppl = "{type: long_ppl, short: 32, step: 8}";
  CHECK(refusal(long_ppl, 64, {31, 5}) ==
        "m.yaml:1:1: no token can be key: the longest window has 32 tokens, no more than a short context of 32; set a "
        "smaller `short`, or take longer documents");
  CHECK(refusal(long_ppl, 64, {32}) == "(no error)");
  CHECK(contains(error_text([] { refusal("{type: long_ppl, short: 64, step: 8}", 64, {64}); }),
                 "no shorter than windows of 64"));
  CHECK(refusal("{type: nll_by_position, bins: 4, last: 64}", 64, {64}) == "(no error)");
  for (const char* any : {"{type: perplexity}", "{type: kl_divergence}"}) CHECK(refusal(any, 64, {1}) == "(no error)");
}

TEST_CASE("what a metric could be fed with it has a value of: never NaN, whatever one token is scored") {
  for (const auto& [name, entry] : Registry<Metric>::instance().entries()) {
    Scored scored;
    scored.documents = {{"a", std::vector<int32_t>(100), 1, 4}};
    scored.windows = {{0, 0, 100, 1}};  // of 101 tokens the last
    for (const auto& value : scored.metric(name, 10)->values(Aggregate::tokens, scored.documents)) {
      INFO(value.name);
      CHECK_FALSE(std::isnan(value.value));
      CHECK(value.count >= 1);
    }
  }
}

TEST_CASE("a perplexity beyond double is infinite beside a finite nll, just below it finite") {
  auto metric = Registry<Metric>::instance().build(Config::parse("{type: perplexity}", "test"));
  auto below = Registry<Metric>::instance().build(Config::parse("{type: perplexity}", "test"));
  const at::Tensor unused = at::zeros({1});
  for (const auto& [which, mean] : {std::pair(metric.get(), 709.8), {below.get(), 709.7}}) {
    which->add({0, unused, unused, at::tensor({mean - 1, mean + 1}, at::kDouble), unused, unused});
    which->take({0, 0, 2, 2}, which->end_window());
  }
  const auto values = metric->values(Aggregate::tokens, {{"a", std::vector<int32_t>(100)}});
  CHECK(std::isinf(values[0].value));
  CHECK(values[1].value == Approx(709.8));
  CHECK(std::isfinite(values[1].stderr_));
  CHECK(std::isfinite(below->values(Aggregate::tokens, {{"a", std::vector<int32_t>(100)}})[0].value));
}

}  // namespace qroar
