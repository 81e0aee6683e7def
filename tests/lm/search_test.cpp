// Whole searches on a small random model.
#include "search/search.h"

#include "base/files.h"
#include "base/statistics.h"
#include "model/angles.h"
#include "search/journal.h"
#include "search/proxy.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/searched.h"

namespace qroar {
namespace {

TEST_CASE("pressure narrows a band's window, inflation caps it at 1, and their product orders the bands") {
  const Scratch scratch;
  const SearchSpec spec = spec_of(", narrow: 0.5, tolerance: 0.05", scratch);
  const BandLayout layout{BandVariant::shared, {0, 2, 5, 8}, 1};
  const SearchSpace space = search_space(spec, layout, {{2, 8, 6}, {1.0, 1.04, 1.5}, {}});
  const auto steps = [&](std::size_t i) {
    const auto& values = space.values[i];
    return std::pair(std::ranges::count_if(values, [](double x) { return x < 0; }),
                     std::ranges::count_if(values, [](double x) { return x > 0; }));
  };
  CHECK(steps(0) == std::pair<std::ptrdiff_t, std::ptrdiff_t>(3, 3));  // keeps 0.875 of 3
  CHECK(steps(1) == std::pair<std::ptrdiff_t, std::ptrdiff_t>(2, 2));  // half of 3, rounded
  CHECK(steps(2) == std::pair<std::ptrdiff_t, std::ptrdiff_t>(2, 0));
  CHECK(space.order == std::vector<std::size_t>{2, 1, 0});  // by 2, 8.32 and 9
  const SearchSpace narrowest = search_space(spec_of(", narrow: 1", scratch), layout, {{2, 8, 6}, {1, 1, 1}, {}});
  CHECK(narrowest.values[0].size() == 5);  // keeps 0.75 of 3 on either side
  CHECK(narrowest.values[1].size() == 3);  // one at least
  CHECK(search_space(spec, layout, {}).order == std::vector<std::size_t>{2, 1, 0});
}

TEST_CASE("sensitivity narrows and orders the bands in pressure's place and caps nothing") {
  const Scratch scratch;
  const SearchSpec spec = spec_of(", guide: sensitivity, narrow: 0.5", scratch);
  const SearchSpace space = search_space(spec, {BandVariant::shared, {0, 2, 5, 8}, 1}, {{}, {}, {0.02, 0.01, 0.08}});
  CHECK(space.values[0].size() == 7);  // keeps 0.875 of 3 steps on either side of 1
  CHECK(space.values[1].size() == 7);
  CHECK(space.values[2].size() == 5);  // half of 3, rounded
  CHECK(space.values[2].back() == Approx(-space.values[2].front()));
  CHECK(space.order == std::vector<std::size_t>{2, 0, 1});
}

TEST_CASE("guided has become guide, and a budget that the guide's gradient spends is refused") {
  const Scratch scratch;
  for (const char* old : {"true", "false"}) {
    CHECK(contains(error_text([&] { spec_of(fmt::format(", guided: {}", old), scratch); }),
                   "guided: has become `guide`: write guide: pressure for true and guide: none for false"));
  }
  CHECK(contains(error_text([&] { spec_of(", guide: sensitivity, budget: 9", scratch); }),
                 "the guide's gradient counts as 8 forwards"));
  CHECK(contains(error_text([&] { spec_of(", guide: sensitivity, budget: 10.9", scratch); }), "take more"));
  CHECK(spec_of(", guide: sensitivity, budget: 11", scratch).budget == 11);
  CHECK(contains(error_text([&] { spec_of(", guide: sensitivity, tolerance: 0.1", scratch); }), "tolerance"));
}

TEST_CASE("a guide by tails needs pieces shorter than the windows that it compares them with") {
  const Scratch scratch;
  const auto refusal = [&](const std::string& more) {
    const std::string path = scratch.write("dev.jsonl", "{}").string();
    return error_text([&] { SearchSpec(Config::parse("{data: {path: " + path + "}, " + more + "}", "s.yaml")); });
  };
  CHECK(contains(refusal("lengths: [20, 36], short_length: 36"),
                 "short_length: the guide compares the tails of windows of 36 tokens, the longest of `lengths`, with "
                 "those of pieces of short_length, 36 tokens, which must be fewer; take short_length: 18, or guide: "
                 "sensitivity or none"));
  CHECK(contains(refusal("lengths: [512], short_length: 512"), "short_length: the guide compares"));
  for (const char* fine : {"lengths: [20, 36], short_length: 35", "lengths: [36], guide: none", "lengths: [512]",
                           "lengths: [36], guide: sensitivity"}) {
    CAPTURE(fine);
    CHECK(refusal(fine) == "(no error)");
  }
}

TEST_CASE("a search never ends worse than it began, and its history says what became of every candidate") {
  for (const char* strategy : {"coordinate", "gradient", "layerwise"}) {
    const Searched searched(fmt::format(", guard: 1, strategy: {{type: {}}}", strategy));
    const SearchResult result = searched.run();
    CHECK(result.summary["dev_gain"].get<double>() >= 0);
    CHECK(result.history.rows.front()[1] == "identity");
    std::size_t best = 0;
    for (std::size_t i = 1; i < result.history.rows.size(); ++i) {
      if (result.history.rows[i][1] == "best so far") best = i;
    }
    INFO(strategy);
    CHECK(std::stod(result.history.rows[best][2]) == result.summary["dev_nll"].get<double>());
    CHECK(result.summary["candidates"] == result.history.rows.size());
  }
}

TEST_CASE("a search that was cut off in the middle goes on and ends with the same bits") {
  const Searched searched(", guard: 1");
  const SearchResult whole = searched.run();
  const std::string text = read_file(searched.journal());
  // Cut within a line, as a kill would.
  std::ofstream(searched.journal(), std::ios::trunc) << text.substr(0, text.size() / 2);
  const SearchResult again = searched.run();
  CHECK(again.history.text() == whole.history.text());
  CHECK(again.scales.g == whole.scales.g);
  CHECK(again.summary == whole.summary);
  CHECK(read_file(searched.journal()) == text);
}

TEST_CASE("a finished search reads its journal, scores nothing again and asks for no quantized model") {
  for (const char* strategy : {"coordinate", "gradient", "layerwise"}) {
    const Searched searched(fmt::format(", guard: 1, strategy: {{type: {}}}", strategy));
    const SearchResult whole = searched.run();
    const std::string before = read_file(searched.journal());
    const int64_t asked = searched.asked;
    const SearchResult again = searched.run();
    CHECK(read_file(searched.journal()) == before);
    CHECK(again.history.text() == whole.history.text());
    CHECK(asked > 0);
    CHECK(searched.asked == asked);
  }
}

TEST_CASE("lines of a journal that are not as a search wrote them are scored again") {
  const Searched searched(", guard: 1");
  const SearchResult whole = searched.run();
  const std::string text = read_file(searched.journal());
  const auto same = [&](const std::string& journal) {
    std::ofstream(searched.journal(), std::ios::trunc) << journal;
    const SearchResult again = searched.run();
    CHECK(again.history.text() == whole.history.text());
    CHECK(again.scales.g == whole.scales.g);
    CHECK(again.summary == whole.summary);
    // What was wrong has been scored and written again: now the journal says all.
    const int64_t lines = std::ranges::count(text, '\n');
    CHECK(std::ranges::count(read_file(searched.journal()), '\n') >= lines);
  };
  std::mt19937 random(11);
  for (int trial = 0; trial < 12; ++trial) {
    std::string bytes = text;
    bytes[random() % bytes.size()] ^= static_cast<char>(1 + random() % 255);
    same(bytes);
  }
  // A number that reads well, a line of the time before lines had hashes, and one that is no JSON.
  std::string other = text;
  const std::size_t digit = other.find("\"nll\":[") + 9;
  other[digit] = other[digit] == '5' ? '6' : '5';
  same(other);
  same(text.substr(0, text.find(",\"hash\"")) + "}\n" + text.substr(text.find('\n') + 1));
  same("null\nhalf\n" + text);
  // The journal of another search.
  std::ofstream(searched.journal(), std::ios::trunc) << text;
  const std::filesystem::path own = searched.journal(),
                              moved = own.parent_path().parent_path() / "another/journal.jsonl";
  std::filesystem::create_directories(moved.parent_path());
  std::filesystem::copy_file(own, moved);
  CHECK(Journal(own).find("score", std::vector<double>(3, 0)));
  CHECK_FALSE(Journal(moved).find("score", std::vector<double>(3, 0)));
}

TEST_CASE("a score of weights that have changed meanwhile is not kept") {
  Searched searched("");
  int asked = 0;
  searched.input.check = [&] {
    if (++asked > 2) fail("changed while it was read");
  };
  CHECK(contains(error_text([&] { searched.run(); }), "changed while it was read"));
  const std::string text = read_file(searched.journal());
  CHECK(std::ranges::count(text, '\n') == 2);
  searched.input.check = [] {};
  const SearchResult again = searched.run(), fresh = Searched("").run();
  CHECK(again.scales.g == fresh.scales.g);
}

TEST_CASE("the budget ends a search") {
  const Searched searched(", guard: 1, budget: 6, strategy: {type: random}");
  const SearchResult result = searched.run();
  CHECK(result.summary["cost"].get<double>() >= 6);
  CHECK(result.summary["cost"].get<double>() < 8);
  CHECK(contains(error_text([] { Searched(", strategy: {type: random}"); }), "give search.budget"));
}

TEST_CASE("a guard that refuses every candidate leaves scales of 1 with a note, and refused ones cost no long window") {
  const Searched lenient(", guard: 1");
  CHECK_FALSE(lenient.run().summary.contains("note"));
  Searched strict(", guard: 0");
  strict.what.spec.guard = -10;
  for (const auto control : {SearchControl::none, SearchControl::random, SearchControl::temperature}) {
    strict.what.control = control;
    const SearchResult result = strict.run();
    INFO("control " << static_cast<int>(control));
    for (const double g : result.scales.g) CHECK(g == 1);
    CHECK(contains(result.summary["note"].get<std::string>(), "the guard refused all"));
    CHECK(contains(result.summary["note"].get<std::string>(), "scales stay 1"));
    CHECK(result.summary["dev_gain"] == 0.0);
    CHECK(result.summary["cost"].get<double>() < 1 + 0.5 * result.summary["candidates"].get<double>());
    REQUIRE(result.history.rows.size() > 1);
    for (std::size_t i = 1; i < result.history.rows.size(); ++i) {
      CHECK(result.history.rows[i][1] == "refused");
      CHECK(result.history.rows[i][6].empty());
    }
  }
  strict.what.control = SearchControl::none;
  strict.what.spec.guard = 1;  // does not take from the journal what another guard refused
  CHECK_FALSE(strict.run().summary.contains("note"));
}

TEST_CASE("the guide sensitivity is the gradient's size at scales of 1, whose cost counts once") {
  const Searched searched(", guard: 100, guide: sensitivity, strategy: {type: gradient, steps: 1}",
                          BandVariant::independent);
  const SearchResult result = searched.run();
  const auto found = Journal(searched.journal()).find("gradients", std::vector<double>(6, 0));
  REQUIRE(found);
  const auto slope = (*found)["by_length"].get<std::vector<std::vector<double>>>().front();
  const auto guide = result.summary["guide"]["sensitivity"].get<std::vector<double>>();
  REQUIRE(guide.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) CHECK(guide[i] == std::abs(slope[i]));
  CHECK(result.summary["gradients"] == 1);
  CHECK(result.summary["guide"]["pressure"].empty());
  const double of_forwards = result.summary["cost"].get<double>() - kGradientCost;
  const auto candidates = result.summary["candidates"].get<double>();
  CHECK(of_forwards >= candidates);
  CHECK(of_forwards < 1.5 * candidates);
}

TEST_CASE("weights of lengths are above 0, and short windows are of half the longest or of 512 tokens") {
  const Scratch scratch;
  for (const char* weight : {"0", "-1"}) {
    CHECK(contains(error_text([&] { spec_of(fmt::format(", weights: [{}]", weight), scratch); }),
                   "expected 1 positive weights"));
  }
  const std::string path = scratch.write("dev.jsonl", "{}").string();
  for (const auto& [lengths, expected] :
       {std::pair("[36]", 18), {"[100, 512]", 256}, {"[513]", 512}, {"[4096]", 512}}) {
    const SearchSpec spec(Config::parse(fmt::format("{{data: {{path: {}}}, lengths: {}}}", path, lengths), "s.yaml"));
    CHECK(spec.short_length == expected);
  }
}

TEST_CASE("scales go into rounded weights only where the quantizers of queries and keys both commute with them") {
  const LlamaConfig config = small_llama_config();
  const Llama model = random_llama(config, at::kFloat, 1);
  const auto commute = [&](const char* query, const char* key) {
    const std::string rules = fmt::format(
        "quant: [{{match: '*.q_proj', weight: {}}}, {{match: '*.k_proj', weight: {}}}, {{match: '*.o_proj', weight: "
        "{{type: hqq}}}}]",
        query, key);
    return commutes_with_scales(QuantPlan(Config::parse(rules, "q.yaml"), config), config);
  };
  const char *any = "{type: rtn, group: 16}", *differs = "{type: hqq, axis: 1, group: 16}",
             *powers_of_two = "{type: mxfp4}";
  CHECK(commute(any, any));
  CHECK_FALSE(commute(differs, any));
  CHECK_FALSE(commute(any, differs));
  CHECK_FALSE(commute(any, powers_of_two));
}

TEST_CASE("the rank correlation of proxy and score is over the candidates that the guard accepted") {
  Searched searched(", guard: 100, guide: none, strategy: {type: layerwise, probes: 12}");
  const CsvTable all = searched.run().history;
  std::vector<double> rises;
  for (const auto& row : all.rows) rises.push_back(std::expm1(std::stod(row[3]) - std::stod(all.rows.front()[3])));
  std::ranges::sort(rises);
  searched.what.spec.guard = rises[2 * rises.size() / 3];
  const SearchResult result = searched.run();
  std::vector<double> proxies, scores;
  for (const auto& row : result.history.rows) {
    if (row[1] == "refused") continue;
    proxies.push_back(std::stod(row[4]));
    scores.push_back(std::stod(row[2]));
  }
  REQUIRE(proxies.size() >= 3);
  REQUIRE(result.summary["refused"] > 0);
  const auto expected = rank_correlation(proxies, scores);
  REQUIRE(expected);
  CHECK(result.summary["proxy_rank_correlation"].get<double>() == Approx(*expected));
}

TEST_CASE("dev documents shorter than a window are refused") {
  Searched searched("");
  searched.what.spec.lengths = {64};
  CHECK(
      contains(error_text([&] { searched.run(); }), "has 40 tokens and windows of 64 are scored; set min_tokens: 64"));
}

TEST_CASE(
    "the proxy is the distortion of the attention logits, computed whole, of heads that turn in part and layers that "
    "do not, too") {
  const bool partly = GENERATE(false, true), without = GENERATE(false, true);
  CAPTURE(partly, without);
  LlamaConfig config = small_llama_config();
  if (partly) config.partial_rotary_factor = 0.5;
  if (without) config.layers[0].rope = false;  // which has no bands
  const Searched searched("", BandVariant::independent, 1, at::kDouble, config);
  const std::vector<Window> windows{{0, 0, 20, 19}};
  Journal journal(searched.scratch.folder() / "proxy.jsonl");
  const LogitDistortion distortion(searched.input, windows, searched.what.layout.edges, journal);
  const BandScales scales{searched.what.layout, {0.9, 1.1, 1.2, 1, 0.8, 1.05}};
  const at::Tensor tokens_T =
      window_tokens(searched.cell.documents[0], windows[0], {Bos::none, false}, searched.cell.full);
  const ops::RopeAngles angles = searched.cell.angles_of(20);
  struct Seen : Observer {
    void on(std::string_view site, const at::Tensor& value) override {
      if (site.ends_with("q_proj")) q.push_back(value.clone());
      if (site.ends_with("k_proj")) k.push_back(value.clone());
    }
    std::vector<at::Tensor> q, k;
  } full, quantized;
  forward(searched.cell.full, tokens_T, angles, &full);
  forward(searched.cell.model, tokens_T, angles, &quantized);
  double expected = 0;
  for (std::size_t i = without ? 1 : 0; i < 2; ++i) {
    const auto logits_of = [&](at::Tensor q, at::Tensor k, const at::Tensor& gq_P, const at::Tensor& gk_P) {
      const at::Tensor rest = at::ones({16 - 2 * gq_P.size(0)}, at::kDouble);
      q = q * at::cat({gq_P, gq_P, rest});
      k = k * at::cat({gk_P, gk_P, rest});
      ops::rope_(q, angles);
      ops::rope_(k, angles);
      at::Tensor l = at::matmul(q.permute({1, 0, 2}), k.repeat_interleave(2, 1).permute({1, 2, 0}));
      const at::Tensor seen = at::ones({20, 20}, at::kDouble).tril();
      l = l * seen;
      return (l - l.sum(-1, true) / seen.sum(-1, true)) * seen;
    };
    const at::Tensor one = at::ones({config.pairs()}, at::kDouble);
    const at::Tensor l = logits_of(full.q[i], full.k[i], one, one);
    const at::Tensor m = logits_of(quantized.q[i], quantized.k[i], scales.query_LKP()[0][0], scales.key_LKP()[0][0]);
    expected += ((m - l).square().sum() / l.square().sum()).item<double>() / (without ? 1 : 2);
  }
  CHECK(distortion(scales) == Approx(expected).epsilon(1e-4));  // its logits are float32
}

TEST_CASE("a rounding draw alone is no distortion for the proxy") {
  Searched searched("", BandVariant::shared, 1, at::kDouble);
  searched.cell.quant = {};
  const std::vector<Window> windows{{0, 0, 20, 19}};
  for (const uint64_t draw : {0, 1, 2, 3}) {
    searched.cell.quant.rounding.draw = draw;
    searched.cell.model = prepare(searched.cell.quant, searched.cell.full);
    Journal journal(searched.scratch.folder() / fmt::format("proxy-{}.jsonl", draw));
    const LogitDistortion distortion(searched.input, windows, searched.what.layout.edges, journal);
    CAPTURE(draw);
    CHECK(std::abs(distortion({searched.what.layout, {1, 1, 1}})) < 1e-6);  // its logits are float32
    CHECK(distortion({searched.what.layout, {2, 1, 1}}) > 0.01);
  }
}

}  // namespace
}  // namespace qroar
