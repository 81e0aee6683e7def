// Attention of packed sequences against one sequence after the other in float64, and against itself in other company.
#include <ATen/Parallel.h>

#include "ops/ops.h"
#include "support/catch.h"

namespace qroar {
namespace {

struct Heads {
  at::Tensor q, k, v;

  Heads slice(int64_t begin, int64_t end) const {
    return {q.slice(0, begin, end), k.slice(0, begin, end), v.slice(0, begin, end)};
  }
  Heads wide() const { return {q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble)}; }
};

Heads random_heads(int64_t tokens, int64_t heads, int64_t kv_heads, int64_t dim, at::ScalarType dtype) {
  const auto draw = [&](int64_t count) { return at::randn({tokens, count, dim}, at::kDouble).to(dtype); };
  return {draw(heads), draw(kv_heads), draw(kv_heads)};
}

at::Tensor attend(const Heads& x, const std::vector<ops::SequenceRows>& sequences, const Heads* before = nullptr) {
  if (before == nullptr) return ops::attention_in_packs(x.q, x.k, x.v, sequences, nullptr);
  const ops::Prefix prefix = ops::keep_prefix(before->q, before->k, before->v, x.q.size(0));
  return ops::attention_in_packs(x.q, x.k, x.v, sequences, &prefix);
}

/// Contexts of different lengths, the second with three continuations, one of them of a single token and one longer
/// than a block of queries.
const std::vector<ops::SequenceRows> kSequences{{0, 70},       {70, 135},  {135, 136, 1}, {136, 200, 1},
                                                {200, 420, 1}, {420, 421}, {421, 431, 0}};

}  // namespace

TEST_CASE("attention in packs keeps to the float64 definition") {
  at::manual_seed(4);
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const double rounding = dtype == at::kFloat ? 0x1p-24 : dtype == at::kHalf ? 0x1p-11 : 0x1p-8;
    for (const int64_t group : {1, 3, 5}) {
      for (const int64_t dim : {16, 64, 128}) {
        const Heads x = random_heads(431, 2 * group, 2, dim, dtype);
        for (const int64_t length : {0, 1, 64, 300}) {
          const Heads before = random_heads(length, 2 * group, 2, dim, dtype), wide = x.wide(),
                      wide_before = before.wide();
          INFO(at::toString(dtype) << ", groups of " << group << ", " << dim << " channels, behind " << length);
          const at::Tensor got = attend(x, kSequences, length > 0 ? &before : nullptr);
          const at::Tensor want = attend(wide, kSequences, length > 0 ? &wide_before : nullptr);
          // Weights sum to 1: one rounding of each costs that of the largest value at most, the output another.
          const double largest =
              std::max(wide.v.abs().max().item<double>(), length > 0 ? wide_before.v.abs().max().item<double>() : 0);
          CHECK((got.to(at::kDouble) - want).abs().max().item<double>() <= largest * (2 * rounding + 0x1p-18));
        }
      }
    }
  }
}

TEST_CASE("a sequence's bits depend neither on what is packed beside it nor on threads") {
  at::manual_seed(5);
  const Heads x = random_heads(431, 6, 2, 64, at::kBFloat16), before = random_heads(200, 6, 2, 64, at::kBFloat16);
  const int threads = at::get_num_threads();
  for (const Heads* prefix : {static_cast<const Heads*>(nullptr), &before}) {
    at::set_num_threads(1);
    const at::Tensor all = attend(x, kSequences, prefix);
    at::set_num_threads(3);
    CHECK(at::equal(attend(x, kSequences, prefix), all));
    at::set_num_threads(threads);
    CHECK(at::equal(attend(x.slice(0, 70), {{0, 70}}, prefix), all.slice(0, 0, 70)));
    CHECK(at::equal(attend(x.slice(70, 200), {{0, 65}, {65, 66, 0}, {66, 130, 0}}, prefix), all.slice(0, 70, 200)));
  }
}

TEST_CASE("one sequence in a pack has the bits of causal attention") {
  at::manual_seed(6);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Heads x = random_heads(300, 6, 2, 64, dtype);
    CHECK(at::equal(attend(x, {{0, 300}}), ops::causal_attention(x.q, x.k, x.v)));
  }
}

}  // namespace qroar
