// Which tokens of a window are scored, against the losses of sequences written out.
#include "eval/evaluate.h"

#include <numeric>

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
    for (const WindowLoss& loss :
         evaluate({model, nullptr, angles_of, documents, windows, feed}, {}, nullptr, [](const Window&) {}))
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

}  // namespace qroar
