// Search strategies on a function that is known.
#include <algorithm>
#include <random>
#include <set>

#include "base/random.h"
#include "search/strategy.h"
#include "support/catch.h"
#include "support/errors.h"

namespace qroar {
namespace {

/// A bowl with its bottom off the grid; proxies rank as scores do.
class Bowl : public Objective {
 public:
  explicit Bowl(std::vector<double> bottom) : bottom_(std::move(bottom)) {}
  double score(const std::vector<double>& point) override {
    if (exhausted()) return std::numeric_limits<double>::infinity();
    history.push_back(point);
    return proxy(point);
  }
  std::vector<double> gradient(const std::vector<double>& point) override {
    std::vector<double> slope;
    for (std::size_t i = 0; i < point.size(); ++i) slope.push_back(2 * (point[i] - bottom_[i]));
    return slope;
  }
  double proxy(const std::vector<double>& point) override {
    double sum = 3;
    for (std::size_t i = 0; i < point.size(); ++i) sum += (point[i] - bottom_[i]) * (point[i] - bottom_[i]);
    return sum;
  }
  bool exhausted() const override { return history.size() >= 150; }

  std::vector<std::vector<double>> history;

 private:
  std::vector<double> bottom_;
};

SearchSpace grid_space(std::size_t dimensions, int64_t points) {
  SearchGrid grid;
  grid.points = points;
  SearchSpace space;
  for (std::size_t i = 0; i < dimensions; ++i) {
    space.values.push_back(grid.values());
    space.order.push_back(dimensions - 1 - i);
  }
  space.values[0].pop_back();  // windows differ
  return space;
}

std::unique_ptr<Strategy> strategy(const std::string& yaml) {
  return Registry<Strategy>::instance().build(Config::parse(yaml, "t.yaml"));
}

TEST_CASE("every strategy improves on the identity inside of the windows, and equal seeds give equal histories") {
  const std::vector<double> bottom{-0.1, 0.07, 0.15};
  std::size_t found = 0;
  for (const auto& [name, entry] : Registry<Strategy>::instance().entries()) {
    INFO(name);
    ++found;
    const SearchSpace space = grid_space(3, 5);
    std::vector<std::vector<std::vector<double>>> histories;
    for (int run = 0; run < 2; ++run) {
      Bowl bowl(bottom);
      std::mt19937_64 random(7);
      strategy(entry.example)->run(bowl, space, random);
      histories.push_back(bowl.history);
    }
    CHECK(histories[0] == histories[1]);
    Bowl bowl(bottom);
    double best = 1e9;
    for (const auto& point : histories[0]) {
      best = std::min(best, bowl.proxy(point));
      CHECK(space.clamped(point) == point);
    }
    CHECK(best < bowl.proxy({0, 0, 0}));
  }
  CHECK(found == 6);
}

TEST_CASE("coordinate sweeps and the grid find a separable function's best point on the grid") {
  const SearchSpace space = grid_space(3, 5);
  for (const char* yaml : {"{type: coordinate, sweeps: 1}", "{type: grid}"}) {
    Bowl bowl({-0.1, 0.07, 0.15});
    std::mt19937_64 random(1);
    strategy(yaml)->run(bowl, space, random);
    double best = 1e9;
    std::vector<double> at;
    for (const auto& point : bowl.history) {
      if (bowl.proxy(point) < best) {
        best = bowl.proxy(point);
        at = point;
      }
    }
    const double step = std::log(1.25) / 2;
    CHECK(at[0] == Approx(-step));
    CHECK(at[1] == Approx(step));
    CHECK(at[2] == Approx(step));
  }
  Bowl bowl({0, 0, 0, 0, 0, 0});
  std::mt19937_64 random(1);
  CHECK(
      contains(error_text([&] { strategy("{type: grid}")->run(bowl, grid_space(6, 7), random); }), "take fewer bands"));
}

TEST_CASE("gradient and cma_es come nearer to the bottom than the grid can") {
  for (const char* yaml : {"{type: gradient, steps: 20}", "{type: cma_es}"}) {
    Bowl bowl({-0.1, 0.07, 0.15});
    std::mt19937_64 random(1);
    strategy(yaml)->run(bowl, grid_space(3, 5), random);
    double best = 1e9;
    for (const auto& point : bowl.history) best = std::min(best, bowl.proxy(point));
    CHECK(best < 3 + 1e-3);
  }
}

TEST_CASE("cma_es takes the steps of its tutorial, which are worked out for one dimension") {
  const double bottom =
      GENERATE(1.0, 2.0, 4.0, 8.0, 300.0);  // so far that steps add up, and the path of the covariance waits
  Bowl bowl({bottom});
  std::mt19937_64 random(3), same(3);
  strategy("{type: cma_es, sigma: 0.5}")->run(bowl, {{{-1000, 0, 1000}}, {0}}, random);
  // Equations 41 to 58 of arXiv 1604.00772 with numbers in the place of vectors: 4 points a generation, of which 2
  // count.
  const double w = std::log(2.5) / (std::log(2.5) + std::log(2.5 / 2)), mu = 1 / (w * w + (1 - w) * (1 - w));
  const double c_sigma = (mu + 2) / (mu + 6), d = 1 + 2 * std::max(0.0, std::sqrt((mu - 1) / 2) - 1) + c_sigma;
  const double c_c = (4 + mu) / (5 + 2 * mu), c_1 = 2 / (2.3 * 2.3 + mu),
               c_mu = std::min(1 - c_1, 2 * (mu + 1 / mu - 1.75) / (9 + mu));
  const double usual = 1 - 1.0 / 4 + 1.0 / 21;  // of the size of a normal number, as the tutorial has it
  double mean = 0, sigma = 0.5, variance = 1, path = 0, path_c = 0;
  int64_t waited = 0;
  for (std::size_t generation = 0; generation < 30; ++generation) {
    std::vector<double> steps;
    for (std::size_t k = 0; k < 4; ++k) {
      steps.push_back(std::sqrt(variance) * standard_normal(same));
      CHECK(bowl.history[4 * generation + k][0] == Approx(mean + sigma * steps.back()).epsilon(1e-9));
    }
    std::ranges::sort(steps, {}, [&](double step) { return std::abs(mean + sigma * step - bottom); });
    const double step = w * steps[0] + (1 - w) * steps[1];
    mean += sigma * step;
    path = (1 - c_sigma) * path + std::sqrt(c_sigma * (2 - c_sigma) * mu) * step / std::sqrt(variance);
    const double late = 1 - std::pow(1 - c_sigma, 2 * static_cast<double>(generation + 1)), size = std::abs(path);
    const bool goes_on = size / std::sqrt(late) < 2.4 * usual;
    waited += goes_on ? 0 : 1;
    path_c = (1 - c_c) * path_c + (goes_on ? std::sqrt(c_c * (2 - c_c) * mu) * step : 0);
    variance = (1 - c_1 - c_mu + (goes_on ? 0 : c_1 * c_c * (2 - c_c))) * variance + c_1 * path_c * path_c +
               c_mu * (w * steps[0] * steps[0] + (1 - w) * steps[1] * steps[1]);
    sigma *= std::exp(c_sigma / d * (size / usual - 1));
  }
  if (bottom > 100) CHECK(waited > 0);
}

TEST_CASE("cma_es draws 4 + 3 ln n points before it moves, rounded down") {
  Bowl bowl({5, 5});
  std::mt19937_64 random(4), same(4);
  strategy("{type: cma_es, sigma: 0.5}")->run(bowl, {{{-10, 0, 10}, {-10, 0, 10}}, {0, 1}}, random);
  for (std::size_t k = 0; k < 7; ++k) {
    const std::vector<double> unmoved{0.5 * standard_normal(same), 0.5 * standard_normal(same)};
    CHECK((bowl.history[k][0] == Approx(unmoved[0]) && bowl.history[k][1] == Approx(unmoved[1])) == (k < 6));
  }
}

TEST_CASE("gradient tries a step, its half and its double, and a quarter of them where none helps, down to a 16th") {
  Bowl bowl({1e-9});  // so near to the beginning that no step improves
  std::mt19937_64 random(1);
  strategy("{type: gradient, steps: 20}")->run(bowl, {{{-0.8, 0, 0.8}}, {0}}, random);
  const double first = 0.2;  // an eighth of the grid's width
  std::vector<double> expected{0};
  for (const double length : {first, first / 4, first / 16, first / 64}) {
    for (const double step : {length, length / 2, length * 2}) expected.push_back(step);
  }
  REQUIRE(bowl.history.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(bowl.history[i][0] == Approx(expected[i]));
  // A step that helped is tried first at the next point: half of the first leads from 0 to 0.1.
  Bowl near({0.1});
  strategy("{type: gradient, steps: 2}")->run(near, {{{-0.8, 0, 0.8}}, {0}}, random);
  REQUIRE(near.history.size() >= 4);
  CHECK(near.history[2][0] == Approx(0.1));
}

TEST_CASE("layerwise scores the identity, four descents on the proxy, and as many steps along one dimension as asked") {
  for (const std::size_t probes : {1, 6}) {
    Bowl bowl({-0.1, 0.07, 0.15});
    std::mt19937_64 random(1);
    strategy(fmt::format("{{type: layerwise, probes: {}}}", probes))->run(bowl, grid_space(3, 5), random);
    REQUIRE(bowl.history.size() == 1 + 4 + probes);
    std::vector<double> best = bowl.history.front();
    for (std::size_t i = 1; i < bowl.history.size(); ++i) {
      const std::vector<double>& tried = bowl.history[i];
      std::ptrdiff_t moved = 0;
      for (std::size_t k = 0; k < 3; ++k) moved += tried[k] != best[k];
      if (i > 4) CHECK(moved <= 1);
      if (bowl.proxy(tried) < bowl.proxy(best)) best = tried;
    }
    CHECK(best != bowl.history.front());
  }
}

TEST_CASE("a plan's cost counts every point that a strategy may try") {
  const auto most = [](const char* yaml) { return strategy(yaml)->most_forwards(3, 7); };
  CHECK(most("{type: coordinate, sweeps: 2}") == 1 + 2 * 3 * 6);  // 1 is known
  CHECK(most("{type: layerwise, probes: 5}") == 1 + 4 + 5);
  CHECK(most("{type: gradient, steps: 4}") == 1 + 4 * (kGradientCost + 3));
  CHECK(most("{type: grid}") == 343);
  CHECK(strategy("{type: grid}")->most_forwards(30, 7) == 10'000);
}

TEST_CASE("cma_es moves to the mean of the better half of its points, rounded down, weighted by rank") {
  const std::vector<double> bottom{5, 3, 4};
  Bowl bowl(bottom);
  std::mt19937_64 random(4), same(4);
  strategy("{type: cma_es, sigma: 0.5}")
      ->run(bowl, {{{-100, 0, 100}, {-100, 0, 100}, {-100, 0, 100}}, {0, 1, 2}}, random);
  // Seven points of three dimensions, of which three count.
  std::vector<std::vector<double>> first(bowl.history.begin(), bowl.history.begin() + 7);
  std::ranges::sort(first, {}, [&](const std::vector<double>& point) { return bowl.proxy(point); });
  std::vector<double> expected(3, 0);
  double weights = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    const double weight = std::log(4.0) - std::log(static_cast<double>(k + 1));
    weights += weight;
    for (std::size_t i = 0; i < 3; ++i) expected[i] += weight * first[k][i];
  }
  // The next points are m + A z with the numbers z that are drawn: least squares give m.
  for (int i = 0; i < 21; ++i) standard_normal(same);
  at::Tensor drawn = at::ones({7, 4}, at::kDouble), points = at::empty({7, 3}, at::kDouble);
  for (int64_t k = 0; k < 7; ++k) {
    for (int64_t i = 0; i < 3; ++i) {
      drawn[k][i + 1] = standard_normal(same);
      points[k][i] = bowl.history[static_cast<std::size_t>(7 + k)][static_cast<std::size_t>(i)];
    }
  }
  const at::Tensor mean = std::get<0>(at::linalg_lstsq(drawn, points))[0];
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(mean[static_cast<int64_t>(i)].item<double>() == Approx(expected[i] / weights).epsilon(1e-9));
}

TEST_CASE("a grid has its 1 in the middle and even steps of the logarithm on either side") {
  SearchGrid grid;
  grid.low = 0.5;
  grid.high = 1.21;
  grid.points = 5;
  const auto values = grid.values();
  CHECK(values[0] == Approx(std::log(0.5)));
  CHECK(values[1] == Approx(std::log(0.5) / 2));
  CHECK(values[2] == 0);
  CHECK(values[3] == Approx(std::log(1.1)));
  CHECK(contains(error_text([] { SearchGrid(Config::parse("{points: 4}", "t.yaml")); }), "take an odd number"));
}

}  // namespace
}  // namespace qroar
