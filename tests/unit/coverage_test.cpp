// How often the nominal 95 % interval of estimate() covers the truth, where clusters are drawn from a real population
// that tests/data/coverage.py describes: losses of documents of very unequal length, in several rounding draws.  The
// truth is the population's; -s prints what docs/method.md 5 shows.  Dimensions: D clusters, R draws, K draws there
// are.
#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <random>

#include "base/csv.h"
#include "base/files.h"
#include "base/interval.h"
#include "base/random.h"
#include "base/statistics.h"
#include "support/catch.h"

namespace qroar {
namespace {

using Random = std::mt19937_64;
constexpr int kRepetitions = 10'000;  // a coverage of 95 % is known to 0.2 %

/// A window: what W3 adds to its loss in each draw beside its loss in full precision.
struct Piece {
  double tokens = 0, nll = 0;
  std::vector<double> change_K;
};

std::vector<std::vector<Piece>> documents() {
  std::vector<std::vector<Piece>> all;
  const std::string text = read_file(std::filesystem::path(QROAR_SOURCE_DIR) / "tests/data/coverage.csv");
  for (std::size_t begin = text.find('\n') + 1; begin < text.size(); begin = text.find('\n', begin) + 1) {
    const auto fields = csv_fields(text.substr(begin, text.find('\n', begin) - begin));
    Piece piece{std::stod(fields[1]), std::stod(fields[2]), {}};
    for (std::size_t k = 3; k < fields.size(); ++k) piece.change_K.push_back(std::stod(fields[k]));
    if (std::stoul(fields[0]) == all.size()) all.emplace_back();
    all.back().push_back(piece);
  }
  return all;
}

/// Adds a piece to a cluster as what is averaged: of a weight, and with a sum for each draw.
using Measure = std::function<void(const Piece&, ClusterSums&)>;

void add(ClusterSums& cluster, double weight, const std::vector<double>& sum_K) {
  cluster.weight += weight;
  cluster.sum_R.resize(sum_K.size());
  for (std::size_t k = 0; k < sum_K.size(); ++k) cluster.sum_R[k] += sum_K[k];
}
void difference(const Piece& piece, ClusterSums& cluster) { add(cluster, piece.tokens, piece.change_K); }
void row(const Piece& piece, ClusterSums& cluster) {
  std::vector<double> nll_K = piece.change_K;
  for (double& nll : nll_K) nll += piece.nll;
  add(cluster, piece.tokens, nll_K);
}
/// A window as a question, which is answered right where its mean loss is below a threshold that half of them meet.
bool is_right(double nll, const Piece& piece) { return nll / piece.tokens < 4.4; }
void accuracy(const Piece& piece, ClusterSums& cluster) {
  std::vector<double> right_K;
  for (const double change : piece.change_K) right_K.push_back(is_right(piece.nll + change, piece) ? 1 : 0);
  add(cluster, 1, right_K);
}

/// Draws one cluster with all K draws; the truth in each draw is the population's.
struct Population {
  std::function<ClusterSums(Random&)> draw;
  std::vector<double> truth_K;
};

Population of_clusters(std::vector<ClusterSums> all) {
  double weight = 0;
  std::vector<double> truth_K(all.front().sum_R.size());
  for (const ClusterSums& cluster : all) {
    weight += cluster.weight;
    for (std::size_t k = 0; k < truth_K.size(); ++k) truth_K[k] += cluster.sum_R[k];
  }
  for (double& truth : truth_K) truth /= weight;
  return {[all](Random& random) { return all[random() % all.size()]; }, truth_K};
}

std::vector<ClusterSums> by_document(const Measure& measure) {
  std::vector<ClusterSums> all;
  for (const auto& document : documents()) {
    all.emplace_back();
    for (const Piece& piece : document) measure(piece, all.back());
  }
  return all;
}

/// `aggregate: documents`: each has the weight 1.
Population of_means(std::vector<ClusterSums> all) {
  for (ClusterSums& cluster : all) {
    for (double& sum : cluster.sum_R) sum /= cluster.weight;
    cluster.weight = 1;
  }
  return of_clusters(all);
}

/// Each window is a cluster of its own.
Population of_windows(const Measure& measure) {
  std::vector<ClusterSums> all;
  for (const auto& document : documents()) {
    for (const Piece& piece : document) measure(piece, all.emplace_back());
  }
  return of_clusters(all);
}

/// Clusters are 1 to 8 pieces of a document, whose losses have it in common.
Population of_pieces(const Measure& measure) {
  std::vector<ClusterSums> means;  // a document's share of the truth: its mean piece
  for (const auto& document : documents()) {
    ClusterSums mean;
    for (const Piece& piece : document) measure(piece, mean);
    mean.weight /= static_cast<double>(document.size());
    for (double& sum : mean.sum_R) sum /= static_cast<double>(document.size());
    means.push_back(mean);
  }
  return {[measure, all = documents()](Random& random) {
            ClusterSums cluster;
            const auto& document = all[random() % all.size()];
            for (uint64_t left = 1 + random() % 8; left > 0; --left)
              measure(document[random() % document.size()], cluster);
            return cluster;
          },
          of_clusters(means).truth_K};
}

/// A rounding draw: one of those of the population, and how much is added to its mean.
struct Draw {
  std::size_t k;
  double shift;
};

/// Several draws are smoothed, since a few that are drawn again and again would share their means exactly: to the mean
/// of each is added half a standard deviation of noise, and all are drawn together again (Silverman and Young 1987).
std::vector<Draw> draws_of(const std::vector<double>& truth_K, std::size_t R, Random& random) {
  constexpr double kWidth = 0.5;
  Moments truths;
  for (const double truth : truth_K) truths.add(truth);
  const double K = static_cast<double>(truths.count), variance = truths.square_sum / K - truths.mean() * truths.mean();
  std::vector<Draw> draws;
  for (std::size_t r = 0; r < R; ++r) {
    const std::size_t k = random() % truth_K.size();
    const double off = truth_K[k] - truths.mean(), noise = kWidth * std::sqrt(variance) * standard_normal(random);
    draws.push_back({k, R == 1 ? 0 : (off + noise) / std::sqrt(1 + kWidth * kWidth) - off});
  }
  return draws;
}

/// Returns whether the interval covers the truth, without the search for a quantile; `checks` that it is the interval.
bool covers(const Estimate& found, double truth, bool checks) {
  Estimate off = found;
  off.centre -= truth;
  const bool is_covered = off.p_value() >= 0.05;
  if (checks) REQUIRE(is_covered == (found.low() <= truth && truth <= found.high()));
  return is_covered;
}

/// With one draw the truth is that draw's; with several it is the mean over all.
double coverage(const Population& population, std::size_t D, std::size_t R, Averaged averaged) {
  Random random(7);
  const double mean = std::accumulate(population.truth_K.begin(), population.truth_K.end(), 0.0) /
                      static_cast<double>(population.truth_K.size());
  int covered = 0;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    const std::vector<Draw> draws = draws_of(population.truth_K, R, random);
    std::vector<ClusterSums> clusters(D);
    for (ClusterSums& cluster : clusters) {
      const ClusterSums all = population.draw(random);
      cluster.weight = all.weight;
      for (const auto& [k, shift] : draws) cluster.sum_R.push_back(all.sum_R[k] + all.weight * shift);
    }
    const double truth = R == 1 ? population.truth_K[draws.front().k] : mean;
    covered += covers(estimate(clusters, averaged), truth, repetition < 10);
  }
  return static_cast<double>(covered) / kRepetitions;
}

/// Checks that the coverage for each D is 93 to 97 %, where above 97 % an excess counts that 10,000 repetitions can
/// tell from chance (two standard errors), and prints a line for docs/method.md.
void check_coverage(const std::string& name, const Population& population, const std::vector<std::size_t>& D_all,
                    std::size_t R, Averaged averaged = Averaged::anything) {
  std::string line = fmt::format("| {} | {} |", name, R);
  for (const std::size_t D : D_all) {
    const double found = coverage(population, D, R, averaged);
    line += fmt::format(" {:.1f} |", 100 * found);
    INFO(name << ", " << D << " clusters, " << R << " draws");
    CHECK(found >= 0.93);
    CHECK(found <= 0.97 + 2 * std::sqrt(0.97 * 0.03 / kRepetitions));
  }
  SUCCEED(line);
}

const std::vector<std::size_t> kClusters{4, 8, 12, 20};

}  // namespace

TEST_CASE("the interval of a difference of two rows covers the truth about 95 times in 100", "[coverage]") {
  for (const std::size_t R : {1, 3, 4, 8}) {
    check_coverage("difference, tokens", of_clusters(by_document(difference)), kClusters, R);
    check_coverage("difference, documents", of_means(by_document(difference)), kClusters, R);
    check_coverage("difference, pieces", of_pieces(difference), kClusters, R);
  }
}

TEST_CASE("the interval of one row covers the truth about 95 times in 100", "[coverage]") {
  for (const std::size_t R : {1, 3, 4, 8}) {
    check_coverage("row, tokens", of_clusters(by_document(row)), kClusters, R);
    check_coverage("row, documents", of_means(by_document(row)), kClusters, R);
    check_coverage("row, pieces", of_pieces(row), kClusters, R);
  }
}

TEST_CASE("the interval of an accuracy covers the truth about 95 times in 100", "[coverage]") {
  for (const std::size_t R : {1, 3, 4, 8}) {
    check_coverage("accuracy, grouped", of_clusters(by_document(accuracy)), kClusters, R, Averaged::answers);
    check_coverage("accuracy, questions", of_windows(accuracy), {20, 50, 100, 200}, R, Averaged::answers);
  }
}

/// How often the interval covers, of `questions` answers in one draw: 1, -1 or 0, or the difference of two such.
double coverage_of_answers(double up, double down, int questions, Averaged averaged, bool of_two) {
  Random random(11);
  std::uniform_real_distribution<double> uniform;
  const auto answer = [&] {
    const double place = uniform(random);
    return place < up ? 1.0 : place < up + down ? -1.0 : 0.0;
  };
  int covered = 0;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    std::vector<ClusterSums> clusters;
    for (int i = 0; i < questions; ++i) clusters.push_back({1, {of_two ? answer() - answer() : answer()}});
    covered += covers(estimate(clusters, averaged), of_two ? 0 : up - down, repetition < 10);
  }
  return static_cast<double>(covered) / kRepetitions;
}

/// Whole numbers of answers come in steps, so that the coverage of no interval is even: it is held from below alone.
void check_answers(const std::string& name, double up, double down, Averaged averaged, bool of_two = false) {
  std::string line = fmt::format("| {} |", name);
  for (const int questions : {8, 20, 50, 100, 200}) {
    const double found = coverage_of_answers(up, down, questions, averaged, of_two);
    line += fmt::format(" {:.1f} |", 100 * found);
    INFO(name << ", " << questions << " questions");
    CHECK(found >= 0.93);
  }
  SUCCEED(line);
}

TEST_CASE("the interval of a mean over alternatives covers the truth at least 93 times in 100", "[coverage]") {
  // Normal parts of documents, roundings, directions and what is left; eight directions, as searches have.
  struct Parts {
    double documents, draws, directions;
  };
  for (const Parts& parts : {Parts{1, 1, 1}, Parts{1, 0, 1}, Parts{1, 3, 0.3}, Parts{0.3, 0.3, 3}, Parts{3, 1, 0}}) {
    for (const std::size_t D : {4, 12}) {
      for (const std::size_t R : {1, 3, 4, 8}) {
        Random random(static_cast<uint64_t>(D * 100 + R));
        std::normal_distribution<double> normal;
        const auto drawn = [&](std::size_t count, double size) {
          std::vector<double> values(count);
          for (double& value : values) value = size * normal(random);
          return values;
        };
        int covered = 0;
        constexpr int kTimes = 4000;
        for (int repetition = 0; repetition < kTimes; ++repetition) {
          const std::vector<double> of_D = drawn(D, parts.documents), of_R = drawn(R, R == 1 ? 0 : parts.draws),
                                    of_K = drawn(8, parts.directions);
          std::vector<std::vector<ClusterSums>> alternatives;
          for (const double direction : of_K) {
            alternatives.emplace_back();
            for (const double document : of_D) {
              ClusterSums cluster{1, {}};
              for (const double draw : of_R)
                cluster.sum_R.push_back(document + draw + direction + 0.5 * normal(random));
              alternatives.back().push_back(std::move(cluster));
            }
          }
          const Estimate found = estimate_of_alternatives(alternatives);
          covered += found.low() <= 0 && found.high() >= 0;
        }
        INFO(fmt::format("D {}, R {}, parts {} {} {}: {}", D, R, parts.documents, parts.draws, parts.directions,
                         covered));
        CHECK(covered >= kTimes * 0.93);
      }
    }
  }
  std::vector<std::vector<ClusterSums>> two_draws(8, std::vector<ClusterSums>(5, {1, {0.1, -0.08}}));
  CHECK_FALSE(estimate_of_alternatives(two_draws).has_interval());
}

TEST_CASE("the interval of rare answers covers the truth at least 93 times in 100", "[coverage]") {
  for (const double right : {0.5, 0.8, 0.9, 0.97})
    check_answers(fmt::format("accuracy of {}", right), right, 0, Averaged::answers);
  for (const auto& [gained, lost] : {std::pair(0.1, 0.1), {0.2, 0.02}, {0.1, 0.0}, {0.02, 0.02}}) {
    check_answers(fmt::format("difference, {} gained and {} lost", gained, lost), gained, lost,
                  Averaged::differences_of_answers);
    check_answers(fmt::format("interaction, {} gained and {} lost twice", gained, lost), gained, lost,
                  Averaged::differences_of_answers, true);
  }
}

}  // namespace qroar
