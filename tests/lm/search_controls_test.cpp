// What a search is compared with: one temperature, random scales, folds.
#include <cmath>
#include <set>

#include "search/folds.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/searched.h"

namespace qroar {
namespace {

TEST_CASE("one temperature takes a grid as fine as the bands' search has paid for, over the same range") {
  for (const auto variant : {BandVariant::shared, BandVariant::independent, BandVariant::symmetric}) {
    Searched searched(", guard: 100, strategy: {type: coordinate, sweeps: 1}", variant, 2);
    const SearchResult bands = searched.run();
    searched.what.control = SearchControl::temperature;
    const SearchResult one = searched.run();
    INFO("variant " << static_cast<int>(variant));
    CHECK(one.scales.layout.variant ==
          (variant == BandVariant::symmetric ? BandVariant::symmetric : BandVariant::shared));
    CHECK(one.scales.layout.edges == std::vector<int64_t>{0, 8});
    REQUIRE(one.scales.g.size() == 1);
    const auto candidates = one.summary["candidates"].get<int64_t>();
    const double spent = bands.summary["cost"], cost = one.summary["cost"];
    CHECK(cost <= spent * (1 + 1e-9));
    CHECK(cost > spent * (1 - 2.5 / static_cast<double>(candidates)));  // an odd number of points
    CHECK(candidates > 7);
    std::set<double> tried;
    for (const auto& row : one.history.rows) tried.insert(std::stod(row.back()));
    CHECK(*tried.begin() == Approx(0.8));
    CHECK(*tried.rbegin() == Approx(1.25));
    CHECK(std::ssize(tried) == candidates);
  }
}

TEST_CASE("cross-validation scores each fold with scales that were searched without it") {
  const Searched searched(", guard: 100, folds: 2, strategy: {type: coordinate, sweeps: 1}", BandVariant::shared, 1,
                          at::kDouble);
  const SearchResult result = searched.run();
  const Json& folds = result.summary["cross_validation"]["folds"];
  REQUIRE(folds.size() == 2);
  double sum = 0;
  for (int64_t k = 0; k < 2; ++k) {
    const Document& held = searched.cell.documents[static_cast<std::size_t>(k)];
    const Json& fold = folds[static_cast<std::size_t>(k)];
    CHECK(fold["documents"] == Json{held.id});
    const std::vector<Window> window{{k, 0, 36, 35}};
    const auto nll = [&](const BandScales& scales) {
      const Llama model = scaled_model(searched.input, scales);
      return evaluate({model, nullptr, searched.cell.angles_of, searched.cell.documents, window, {Bos::none, false}},
                      {})[0]
          .nll.mean();
    };
    const BandScales found{searched.what.layout, fold["g"]};
    CHECK(fold["held_out_gain"].get<double>() ==
          Approx(nll({found.layout, {1, 1, 1}}) - nll(found)).epsilon(1e-6).margin(1e-9));
    sum += fold["held_out_gain"].get<double>();
  }
  CHECK(result.summary["cross_validation"]["gain"].get<double>() == Approx(sum / 2));
  CHECK(folds[0]["g"] != folds[1]["g"]);
  // The scales that count are those of all dev texts.
  const Searched whole(", guard: 100, strategy: {type: coordinate, sweeps: 1}", BandVariant::shared, 1, at::kDouble);
  CHECK(result.scales.g == whole.run().scales.g);
  CHECK(contains(error_text([] { Searched(", folds: 3").run(); }),
                 "3 folds need as many groups of documents, and the dev texts have 2"));
}

TEST_CASE("one temperature tries as many points as the search has paid for, an odd number from three on") {
  for (const char* of_search : {"budget: 2, strategy: {type: random}", "budget: 7, strategy: {type: random}",
                                "budget: 9, strategy: {type: random}", "budget: 3, strategy: {type: gradient}"}) {
    Searched searched(fmt::format(", guard: 100, {}", of_search));
    const SearchResult bands = searched.run();
    searched.what.control = SearchControl::temperature;
    const SearchResult one = searched.run();
    const double each = std::stod(one.history.rows.front()[5]);  // the cost of scales of 1
    const auto paid = static_cast<int64_t>(bands.summary["cost"].get<double>() / each * (1 + 1e-9));
    INFO(of_search << ": " << paid);
    CHECK(one.summary["candidates"] == std::max<int64_t>(3, (paid - 1) / 2 * 2 + 1));
  }
}

TEST_CASE("the guard judges what a fold's search tries, and not what its scales do to the texts held back") {
  const Searched searched(", guard: 0, folds: 2, strategy: {type: coordinate, sweeps: 1}", BandVariant::shared, 1,
                          at::kDouble);
  const SearchResult result = searched.run();
  int64_t dearer = 0;  // at short length
  for (int64_t k = 0; k < 2; ++k) {
    const Json& fold = result.summary["cross_validation"]["folds"][static_cast<std::size_t>(k)];
    const BandScales found{searched.what.layout, fold["g"]}, none{searched.what.layout, {1, 1, 1}};
    const auto nll = [&](const BandScales& scales, int64_t tokens) {
      const std::vector<Window> window{{k, 0, tokens, tokens - 1}};
      const Llama model = scaled_model(searched.input, scales);
      return evaluate({model, nullptr, searched.cell.angles_of, searched.cell.documents, window, {Bos::none, false}},
                      {})[0]
          .nll.mean();
    };
    dearer += nll(found, 12) > nll(none, 12);
    CHECK(fold["held_out_gain"].get<double>() == Approx(nll(none, 36) - nll(found, 36)).epsilon(1e-6).margin(1e-9));
  }
  CHECK(dearer > 0);  // so that the guard would have refused these
}

TEST_CASE("documents of one group stay in one fold") {
  std::vector<Document> documents;
  for (const char* group : {"a", "b", "b", "c", "a"}) {
    Document& document = documents.emplace_back();
    document.id = std::to_string(documents.size());
    document.group = group;
  }
  CHECK(folds_of(documents, 2) == std::vector<std::vector<std::size_t>>{{0, 3, 4}, {1, 2}});
  // The gain is a mean over documents, though folds have unequally many.
  const Json found = cross_validated(documents, 2, [](const auto& complement, const auto& fold) {
    CHECK(complement.size() + fold.size() == 5);
    return FoldGains{0.5, fold.size() == 3 ? 0.1 : 0.2, {}};
  });
  CHECK(found["gain"].get<double>() == Approx((3 * 0.1 + 2 * 0.2) / 5));
  CHECK(found["folds"][0]["documents"] == Json{"1", "4", "5"});
  CHECK(found["folds"][1]["held_out_gain"] == 0.2);
  CHECK(found["folds"][1]["searched_gain"] == 0.5);
}

TEST_CASE("random scales are as far from 1 as those they stand for") {
  BandScales found;
  found.layout.edges = {0, 4, 8};
  found.g = {1.2, 0.9};
  const Llama model = random_llama(small_llama_config(), at::kFloat, 1);
  const BandScales drawn = random_of_same_norm(found, model, 3), other = random_of_same_norm(found, model, 4);
  const auto norm = [](const BandScales& scales) {
    return at::tensor(scales.g, at::kDouble).log().norm().item<double>();
  };
  CHECK(norm(drawn) == Approx(norm(found)));
  CHECK(drawn.g == random_of_same_norm(found, model, 3).g);
  CHECK(drawn.g != other.g);
  Searched searched(", guard: 1, seed: 3");
  const BandScales whole = searched.run().scales;
  searched.what.control = SearchControl::random;
  for (const int64_t draw : {0, 5}) {
    searched.what.draw = draw;
    CHECK(searched.run().scales.g == random_of_same_norm(whole, searched.cell.full, static_cast<uint64_t>(3 + draw)).g);
  }
}

TEST_CASE("random scales of layers leave out those without RoPE, where they would do nothing") {
  LlamaConfig config = small_llama_config();
  config.layers[0].rope = false;
  const Llama model = random_llama(config, at::kFloat, 1);
  BandScales found;
  found.layout.edges = {0, 4, 8};
  found.layout.layers = 2;
  found.g = {1.3, 0.7, 1.2, 0.9};
  const BandScales drawn = random_of_same_norm(found, model, 3);
  CHECK(drawn.g[0] == 1);
  CHECK(drawn.g[1] == 1);
  CHECK(std::hypot(std::log(drawn.g[2]), std::log(drawn.g[3])) == Approx(std::hypot(std::log(1.2), std::log(0.9))));
}

}  // namespace
}  // namespace qroar
