// Which tokens of a window are scored, against the losses of sequences written out.
#include "eval/evaluate.h"

#include <map>
#include <numeric>
#include <random>
#include <set>

#include "base/stop.h"
#include "eval/clusters.h"
#include "eval/token_losses.h"
#include "support/catch.h"
#include "support/diagnostic.h"

namespace qroar {
namespace {

/// A cell of float64, so that sums in another order agree to 1e-10.
struct Evaluated : DiagnosedCell {
  Evaluated() : DiagnosedCell("[]", at::kDouble) {}

  /// The sums of evaluate() over the cell's windows.
  std::vector<Moments> sums() const {
    std::vector<Moments> found;
    for (const WindowLoss& loss : evaluate({model, nullptr, angles_of, documents, windows, feed}, {}))
      found.push_back(loss.nll);
    return found;
  }
  /// The losses of the last `count` tokens of a sequence.
  double loss_of(const std::vector<int64_t>& tokens, int64_t count) const {
    const auto length = std::ssize(tokens);
    const std::vector<double> losses = token_losses(model, at::tensor(tokens, at::kLong), angles_of(length), 0);
    return std::accumulate(losses.end() - count, losses.end(), 0.0);
  }
  /// Tokens [begin, end) of a document, behind `bos` where it is not negative.
  std::vector<int64_t> text(std::size_t document, int64_t begin, int64_t end, int64_t bos = -1) const {
    const std::vector<int32_t>& tokens = documents[document].tokens;
    std::vector<int64_t> chosen(tokens.begin() + begin, tokens.begin() + end);
    if (bos >= 0) chosen.insert(chosen.begin(), bos);
    return chosen;
  }
};

void check_sum(const Moments& found, int64_t count, double sum) {
  CHECK(found.count == count);
  CHECK(found.sum == Approx(sum).epsilon(1e-10));
}

}  // namespace

TEST_CASE("what a cluster scored is told from everything that it scored, in order") {
  const auto scored = [](const std::vector<std::string>& units) {
    ByCluster clusters;
    for (const std::string& unit : units) clusters.add("group", unit, 1, 1);
    return clusters.all().front().scored;
  };
  CHECK(scored({"a", "b"}) == scored({"a", "b"}));
  CHECK(scored({"a", "b"}) != scored({"c", "b"}));
  CHECK(scored({"a", "b"}) != scored({"b", "a"}));
  CHECK(scored({"a", "b"}) != scored({"b"}));
  CHECK(scored({"a"}).size() == 16);
}

TEST_CASE("the last tokens of a window are scored, each given BOS and the window's tokens before it") {
  Evaluated cell;
  cell.windows = {{0, 0, 12, 12}, {0, 5, 17, 5}, {1, 3, 15, 4}};  // of one length: they go through the model together
  const int64_t bos = cell.model.config.bos_token_id.value();
  const std::vector<Moments> found = cell.sums();
  REQUIRE(found.size() == 3);
  check_sum(found[0], 12, cell.loss_of(cell.text(0, 0, 12, bos), 12));
  check_sum(found[1], 5, cell.loss_of(cell.text(0, 5, 17, bos), 5));
  check_sum(found[2], 4, cell.loss_of(cell.text(1, 3, 15, bos), 4));
}

TEST_CASE("where targets lie beyond the window, its last one is the token behind what the model sees") {
  Evaluated cell;
  cell.feed = {Bos::none, /*beyond=*/true};
  cell.windows = {{0, 0, 13, 12}, {1, 4, 20, 3}};
  const std::vector<Moments> found = cell.sums();
  REQUIRE(found.size() == 2);
  check_sum(found[0], 12, cell.loss_of(cell.text(0, 0, 13), 12));
  check_sum(found[1], 3, cell.loss_of(cell.text(1, 4, 20), 3));
  CHECK(window_tokens(cell.documents[0], cell.windows[0], cell.feed, cell.model).size(0) == 12);
}

namespace {

struct KeptWindows : WindowStore {
  std::map<std::size_t, Json> results;
  bool has(std::size_t window) const override { return results.contains(window); }
  void add(std::size_t window, const Json& result, double) override { results[window] = result; }
  std::set<std::size_t> windows() const {
    std::set<std::size_t> found;
    for (const auto& [window, result] : results) found.insert(window);
    return found;
  }
};

/// What the evaluation of windows of 1100 tokens leaves for shorter ones, in float32.
struct LongDocuments : DiagnosedCell {
  LongDocuments() : DiagnosedCell("[]") {
    std::mt19937 random(3);
    for (Document& document : documents) {
      document.tokens.resize(1100);
      for (int32_t& token : document.tokens) token = static_cast<int32_t>(random() % 50);
    }
    windows = {{0, 0, 1100, 1099}, {1, 0, 1100, 1099}, {1, 50, 1100, 7}};
    feed = {Bos::none, false};
  }
  /// Makes the model a streamed one that counts how many weights it has made.
  void stream() {
    for (DecoderLayer& layer : model.layers) {
      layer.read_ahead = [] {};
      for (const auto member : kLayerLinears) {
        Linear& linear = layer.*member;
        linear.make = [this, weight_OI = linear.weight_OI] {
          ++made;
          return weight_OI;
        };
        linear.weight_OI = at::Tensor();
      }
    }
  }
  int made = 0;
  AnglesOf stretched(double factor) const {
    return [this, factor](int64_t length) {
      const RopeTable table = make_scheme(fmt::format("{{type: linear, factor: {}}}", factor))->table(geometry, length);
      return rope_angles(table, length, at::kFloat, at::kCPU, false);
    };
  }
  KeptWindows kept_for(const std::vector<Window>& others, const AnglesOf& angles) const {
    KeptWindows kept;
    const Metrics none;
    evaluate({model, nullptr, angles_of, documents, windows, feed}, none, nullptr,
             {{{model, nullptr, angles, documents, others, feed}, none, kept}});
    return kept;
  }
};

}  // namespace

TEST_CASE("a companion's window that begins another is scored with it, to the bit as by itself") {
  const LongDocuments cell;
  const std::vector<Window> others{{0, 0, 512, 511}, {0, 0, 700, 699},  {0, 512, 1024, 511},
                                   {1, 0, 1024, 9},  {1, 50, 562, 100}, {1, 0, 1100, 30}};
  const KeptWindows kept = cell.kept_for(others, cell.angles_of);
  CHECK(kept.windows() == std::set<std::size_t>{0, 3, 4, 5});
  const auto alone = evaluate({cell.model, nullptr, cell.angles_of, cell.documents, others, cell.feed}, {});
  for (const auto& [window, result] : kept.results) CHECK(result["nll"] == to_json(alone[window].nll));
}

TEST_CASE("a streamed model's weights are made once for the windows of several cells, whatever their tables") {
  LongDocuments cell;
  const Llama resident = cell.model;
  cell.stream();
  const std::vector<AnglesOf> tables{cell.stretched(2), cell.stretched(3), cell.stretched(4)};
  const Metrics none;
  std::vector<KeptWindows> kept(tables.size());
  std::vector<Companion> companions;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    companions.push_back({{cell.model, nullptr, tables[i], cell.documents, cell.windows, cell.feed}, none, kept[i]});
  }
  std::map<std::pair<int64_t, int64_t>, double> advanced;
  int64_t steps = 0;
  const Advance advance = [&](const Window& window, double share) {
    advanced[{window.document, window.begin}] += share;
    ++steps;
  };
  evaluate({cell.model, nullptr, cell.angles_of, cell.documents, cell.windows, cell.feed}, none, nullptr, companions,
           advance);
  CHECK(advanced.size() == cell.windows.size());
  for (const auto& [window, share] : advanced) CHECK(std::abs(share - 1) < 1e-12);
  CHECK(steps == std::ssize(cell.windows) * (std::ssize(cell.model.layers) + 1));
  CHECK(cell.made == std::ssize(cell.model.layers) * std::ssize(kLayerLinears));
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const auto alone = evaluate({resident, nullptr, tables[i], cell.documents, cell.windows, cell.feed}, {});
    REQUIRE(kept[i].results.size() == cell.windows.size());
    for (const auto& [window, result] : kept[i].results) CHECK(result["nll"] == to_json(alone[window].nll));
  }
}

TEST_CASE("other angles, and a cache whose rounding depends on the window's end, are not shared") {
  LongDocuments cell;
  const std::vector<Window> others{{0, 0, 512, 511}};
  CHECK(cell.kept_for(others, cell.angles_of).results.size() == 1);
  CHECK(cell.kept_for(others, cell.stretched(3)).results.empty());
  cell.model.layers.front().heads.residual = 4;
  CHECK(cell.kept_for(others, cell.angles_of).results.empty());
}

TEST_CASE("where the beginning of a window has other bits than alone, shorter windows are not scored with it") {
  LongDocuments cell;
  cell.model.layers.back().o_proj.input = {
      [](const at::Tensor& x_TI) { return x_TI * (1 + 1e-6 * static_cast<double>(x_TI.size(0))); }};
  CHECK(cell.kept_for({{0, 0, 512, 511}, {1, 0, 1024, 9}, {1, 0, 1100, 30}}, cell.angles_of).windows() ==
        std::set<std::size_t>{2});
}

TEST_CASE("a streamed model takes so many tokens at a time that a stop loses little") {
  LongDocuments cell;
  cell.stream();
  cell.windows.clear();
  const std::size_t group = kGroupTokens / 1024;
  for (std::size_t i = 0; i < group + 1; ++i) cell.windows.push_back({0, 0, 1024, 1});
  KeptParts kept;
  std::size_t done = 0;
  const Advance stop_in_the_second = [&](const Window&, double) {
    if (kept.find(window_part(group - 1)) != nullptr && ++done > 1) throw Stopped();
  };
  CHECK_THROWS_AS(evaluate({cell.model, nullptr, cell.angles_of, cell.documents, cell.windows, cell.feed}, {}, &kept,
                           {}, stop_in_the_second),
                  Stopped);
  CHECK(kept.find(window_part(group - 1)) != nullptr);
  CHECK(kept.find(window_part(group)) == nullptr);
  CHECK(cell.made == (std::ssize(cell.model.layers) + 1) * std::ssize(kLayerLinears));
}

}  // namespace qroar
