// Every op against the float64 reference, and the float64 reference against numbers worked out by hand.
#include "ops/ops.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "support/catch.h"

using namespace qroar;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// What a result may be off by, relative to its own size and to the largest one of the tensor.
struct Tolerance {
  at::ScalarType dtype;
  double rounding;    ///< of one cast to the dtype: half a unit in the last place, 2^-(significant bits)
  double arithmetic;  ///< before the cast: sums of up to 1500 terms, scores up to 10, in float32 (2^-24) or float64
                      ///< (2^-53)
};
const std::vector<Tolerance> kTolerances = {{at::kDouble, 0x1p-53, 0x1p-45},
                                            {at::kFloat, 0x1p-24, 0x1p-18},
                                            {at::kHalf, 0x1p-11, 0x1p-18},
                                            {at::kBFloat16, 0x1p-8, 0x1p-18}};

at::Tensor wide(const at::Tensor& x) { return x.to(at::kDouble); }

at::Tensor random(at::IntArrayRef sizes, at::ScalarType dtype) {
  return at::randn(sizes, at::TensorOptions().dtype(at::kDouble)).to(dtype);
}

/// The greatest |got - want| as a share of what `roundings` casts may cost; at most 1 is a pass.
double excess(const at::Tensor& got, const at::Tensor& want, const Tolerance& tolerance, double roundings) {
  const at::Tensor allowed = want.abs() * (roundings * tolerance.rounding) + want.abs().max() * tolerance.arithmetic;
  return ((wide(got) - want).abs() / allowed).max().item<double>();
}

ops::RopeAngles angles(int64_t tokens, int64_t dim, at::ScalarType dtype) {
  const at::Tensor angle = at::rand({tokens, dim / 2}, at::TensorOptions().dtype(at::kDouble)) * 6.28;
  const auto stored = dtype == at::kDouble ? at::kDouble : at::kFloat;
  return {angle.cos().to(stored), angle.sin().to(stored)};
}

using Attention = decltype(&ops::causal_attention);

/// As a share of the bound for attention: with weights that sum to 1, rounding each weight costs at most one rounding
/// of the largest |v|, and rounding the output another.
double attention_excess(Attention op, int64_t tokens, int64_t heads, int64_t kv_heads, int64_t dim,
                        const Tolerance& tolerance) {
  const at::Tensor q = random({tokens, heads, dim}, tolerance.dtype),
                   k = random({tokens, kv_heads, dim}, tolerance.dtype),
                   v = random({tokens, kv_heads, dim}, tolerance.dtype);
  const at::Tensor want = ops::reference::causal_attention(wide(q), wide(k), wide(v)), got = op(q, k, v, {});
  REQUIRE(got.scalar_type() == tolerance.dtype);
  REQUIRE(got.sizes() == q.sizes());
  const double allowed = wide(v).abs().max().item<double>() * (2 * tolerance.rounding + tolerance.arithmetic);
  return (wide(got) - want).abs().max().item<double>() / allowed;
}

/// Runs `op` with one thread, with two, and again: the bits must not change.
void require_same_bits(const std::function<at::Tensor()>& op) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = op();
  at::set_num_threads(2);
  const at::Tensor two = op(), again = op();
  at::set_num_threads(threads);
  CHECK(at::equal(one, two));
  CHECK(at::equal(two, again));
}

}  // namespace

TEST_CASE("our parallel loops run on all of ATen's threads") {
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  at::parallel_for(0, 2, 1, [&](int64_t, int64_t) {
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  at::set_num_threads(threads);
  REQUIRE(seen.size() == 2);
}

TEST_CASE("attention in float64 is the triple loop of its definition") {
  const int64_t tokens = 5, heads = 4, kv_heads = 2, dim = 8;
  const at::Tensor q = random({tokens, heads, dim}, at::kDouble), k = random({tokens, kv_heads, dim}, at::kDouble),
                   v = random({tokens, kv_heads, dim}, at::kDouble);
  const at::Tensor out = ops::causal_attention(q, k, v);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      at::Tensor mixed = at::zeros({dim}, q.options());
      double total = 0;
      for (int64_t s = 0; s <= t; ++s) {
        const double weight = std::exp(at::dot(q[t][h], k[s][h / 2]).item<double>() / std::sqrt(8.0));
        mixed += v[s][h / 2] * weight;
        total += weight;
      }
      CHECK((out[t][h] - mixed / total).abs().max().item<double>() < 1e-14);
    }
  }
}

TEST_CASE("the other references give numbers worked out by hand") {
  const auto row = [](std::vector<double> values) { return at::tensor(values, at::kDouble).unsqueeze(0); };
  const at::Tensor normed = ops::reference::rms_norm(row({3, 4}), at::tensor({1.0, 10.0}, at::kDouble), 0.5);
  CHECK(normed[0][0].item<double>() == Approx(3 / std::sqrt(13.0)));  // mean of squares 12.5, eps 0.5
  CHECK(normed[0][1].item<double>() == Approx(40 / std::sqrt(13.0)));

  at::Tensor turned = at::tensor({1.0, 2.0, 3.0, 4.0}, at::kDouble).view({1, 1, 4});
  ops::reference::rope_(turned, {row({0, 0.6}), row({1, 0.8})});  // pairs (1, 3) by 90 degrees and (2, 4) by 53
  CHECK(at::allclose(turned.view({4}), at::tensor({-3.0, 2 * 0.6 - 4 * 0.8, 1.0, 4 * 0.6 + 2 * 0.8}, at::kDouble)));

  const at::Tensor gated = ops::reference::silu_mul(row({0, std::log(3.0)}), row({5, 2}));
  CHECK(gated[0][0].item<double>() == 0);
  CHECK(gated[0][1].item<double>() == Approx(1.5 * std::log(3.0)));  // sigmoid(ln 3) = 3/4

  const at::Tensor nll = ops::reference::token_nll(row({0, std::log(3.0)}), at::tensor({0}, at::kLong));
  CHECK(nll.item<double>() == Approx(std::log(4.0)));
}

TEST_CASE("attention keeps to the float64 reference for all shapes and dtypes") {
  at::manual_seed(1);
  for (const Tolerance& tolerance : kTolerances) {
    if (tolerance.dtype == at::kDouble) continue;  // is the reference
    for (const int64_t tokens : {1, 2, 63, 64, 65, 513, 1500}) {
      for (const int64_t group : {1, 3, 4}) {
        for (const int64_t dim : {8, 64, 128}) {
          const int64_t kv_heads = tokens < 100 ? 2 : 1;
          CAPTURE(toString(tolerance.dtype), tokens, group, dim);
          CHECK(attention_excess(ops::causal_attention, tokens, kv_heads * group, kv_heads, dim, tolerance) <= 1);
        }
      }
    }
    CAPTURE(toString(tolerance.dtype));
    CHECK(attention_excess(ops::reference::causal_attention, 513, 6, 2, 64, tolerance) <= 1);
  }
}

TEST_CASE(
    "attention through a cache keeps to the float64 reference, for all queries and the last, in a window, in every "
    "dtype") {
  at::manual_seed(3);
  for (const Tolerance& tolerance : kTolerances) {
    for (const int64_t dim : {8, 64, 128}) {
      const auto draw = [&](int64_t heads) { return random({500, heads, dim}, tolerance.dtype); };
      const at::Tensor q = draw(6), cached_k = draw(2), cached_v = draw(2), exact_k = draw(2), exact_v = draw(2);
      const double largest = wide(at::cat({cached_v, exact_v})).abs().max().item<double>(),
                   allowed = largest * (2 * tolerance.rounding + tolerance.arithmetic);
      for (const ops::AttentionOptions options : {ops::AttentionOptions{}, {90, 0}, {0, 0.3}}) {
        for (const int64_t residual : {1, 63, 64, 65, 200, 499, 500}) {
          const at::Tensor all = ops::reference::residual_attention(wide(q), wide(cached_k), wide(cached_v),
                                                                    wide(exact_k), wide(exact_v), residual, options);
          for (const int64_t last : {500, 70, 1}) {
            CAPTURE(toString(tolerance.dtype), dim, options.sliding_window, options.scaling, residual, last);
            const at::Tensor got =
                ops::residual_attention(q.slice(0, -last), cached_k, cached_v, exact_k, exact_v, residual, options);
            REQUIRE(got.scalar_type() == tolerance.dtype);
            CHECK((wide(got) - all.slice(0, -last)).abs().max().item<double>() <= allowed);
          }
        }
      }
      require_same_bits([&] { return ops::residual_attention(q, cached_k, cached_v, exact_k, exact_v, 100); });
    }
  }
}

TEST_CASE("the last queries by themselves get what they get among all") {
  at::manual_seed(2);
  for (const Tolerance& tolerance : kTolerances) {
    for (const int64_t tokens : {65, 700}) {
      for (const int64_t dim : {8, 64}) {
        const at::Tensor q = random({tokens, 6, dim}, tolerance.dtype), k = random({tokens, 2, dim}, tolerance.dtype),
                         v = random({tokens, 2, dim}, tolerance.dtype);
        const at::Tensor all = ops::reference::causal_attention(wide(q), wide(k), wide(v));
        const double allowed = wide(v).abs().max().item<double>() * (2 * tolerance.rounding + tolerance.arithmetic);
        for (const int64_t last : {1, 2, 63, 64, 300}) {
          if (last > tokens) continue;
          CAPTURE(toString(tolerance.dtype), tokens, dim, last);
          const at::Tensor got = ops::causal_attention(q.narrow(0, tokens - last, last), k, v);
          REQUIRE(got.size(0) == last);
          CHECK((wide(got) - all.narrow(0, tokens - last, last)).abs().max().item<double>() <= allowed);
        }
      }
    }
  }
}

TEST_CASE("one row of bfloat16 keeps to the float64 reference, whatever its size") {
  at::manual_seed(7);
  const Tolerance& tolerance = kTolerances.back();
  for (const int64_t inputs : {1, 31, 32, 33, 64, 576, 1000}) {
    for (const int64_t outputs : {1, 3, 4, 7, 300}) {
      const at::Tensor x = random({1, inputs}, at::kBFloat16), weight = random({outputs, inputs}, at::kBFloat16),
                       bias = random({outputs}, at::kBFloat16);
      for (const at::Tensor& b : {at::Tensor(), bias}) {
        INFO(inputs << " -> " << outputs << (b.defined() ? " with bias" : ""));
        const at::Tensor want = ops::reference::linear(wide(x), wide(weight), b.defined() ? wide(b) : b);
        // Sums of products near 1: their roundings are relative to the products, not to what cancels.
        const double allowed = 0x1p-20 * static_cast<double>(inputs);
        CHECK(((wide(ops::linear(x, weight, b)) - want).abs() / (want.abs() * tolerance.rounding + allowed))
                  .max()
                  .item<double>() <= 1);
      }
    }
  }
  const at::Tensor wide_view = random({5, 200}, at::kBFloat16).narrow(1, 8, 96), x = random({1, 96}, at::kBFloat16);
  CHECK(at::equal(ops::linear(x, wide_view, {}), ops::linear(x, wide_view.contiguous(), {})));
}

TEST_CASE("the last query of bfloat16 alone keeps to the float64 reference") {
  at::manual_seed(8);
  const Tolerance& tolerance = kTolerances.back();
  for (const int64_t dim : {32, 64, 96, 128}) {
    for (const int64_t group : {1, 2, 3, 4, 7}) {
      for (const int64_t tokens : {1, 2, 5, 255, 256, 257, 1030}) {
        const at::Tensor q = random({1, 2 * group, dim}, at::kBFloat16), k = random({tokens, 2, dim}, at::kBFloat16),
                         v = random({2, tokens, dim}, at::kBFloat16).transpose(0, 1);
        INFO(dim << " channels, groups of " << group << ", " << tokens << " tokens");
        const at::Tensor want = ops::reference::causal_attention(wide(q), wide(k), wide(v));
        const double allowed = wide(v).abs().max().item<double>() * (tolerance.rounding + 0x1p-16);
        CHECK((wide(ops::causal_attention(q, k, v)) - want).abs().max().item<double>() <= allowed);
      }
    }
  }
}

TEST_CASE("attention takes strided views and scores far apart") {
  for (const Tolerance& tolerance : kTolerances) {
    const at::Tensor qkv =
        random({200, 5 * 64}, tolerance.dtype) * 8;  // scores up to some hundreds, rising and falling
    const auto heads = [&](const at::Tensor& x, int64_t first, int64_t count) {
      return x.narrow(1, first * 64, count * 64).view({200, count, 64});
    };
    const at::Tensor got = ops::causal_attention(heads(qkv, 0, 3), heads(qkv, 3, 1), heads(qkv, 4, 1)), w = wide(qkv);
    const at::Tensor want = ops::reference::causal_attention(heads(w, 0, 3), heads(w, 3, 1), heads(w, 4, 1));
    const double allowed = w.abs().max().item<double>() * (2 * tolerance.rounding + 64 * tolerance.arithmetic);
    CAPTURE(toString(tolerance.dtype));
    CHECK((wide(got) - want).abs().max().item<double>() <= allowed);
  }
}

TEST_CASE("row ops keep to the float64 reference for all shapes and dtypes") {
  for (const Tolerance& tolerance : kTolerances) {
    for (const int64_t tokens : {1, 2, 65, 513}) {
      for (const int64_t dim : {2, 8, 64, 576, 1000}) {
        CAPTURE(toString(tolerance.dtype), tokens, dim);
        const at::Tensor x = random({tokens, dim}, tolerance.dtype), y = random({tokens, dim}, tolerance.dtype);
        const at::Tensor weight = random({dim}, tolerance.dtype);
        const at::Tensor norm_want = ops::reference::rms_norm(wide(x), wide(weight), 1e-5);
        CHECK(excess(ops::rms_norm(x, weight, 1e-5), norm_want, tolerance, 2) <= 1);
        CHECK(excess(ops::reference::rms_norm(x, weight, 1e-5), norm_want, tolerance, 2) <= 1);

        const at::Tensor gate = x * 3, gated_want = ops::reference::silu_mul(wide(gate), wide(y));
        CHECK(excess(ops::silu_mul(gate, y), gated_want, tolerance, 2) <= 1);
        CHECK(excess(ops::reference::silu_mul(gate, y), gated_want, tolerance, 2) <= 1);

        const auto turns = angles(tokens, dim, tolerance.dtype);
        at::Tensor fast = x.clone().view({tokens, 1, dim}), slow = fast.clone(), want = wide(fast).clone();
        ops::rope_(fast, turns);
        ops::reference::rope_(slow, turns);
        ops::reference::rope_(want, {wide(turns.cos_TP), wide(turns.sin_TP)});
        CHECK(excess(fast, want, tolerance, 1) <= 1);
        CHECK(at::equal(fast, slow));
      }
    }
  }
}

TEST_CASE("rope turns a strided view in place and touches nothing beside it") {
  for (const Tolerance& tolerance : kTolerances) {
    const at::Tensor before = random({65, 5 * 64}, tolerance.dtype), after = before.clone();
    const auto turns = angles(65, 64, tolerance.dtype);
    at::Tensor view = after.narrow(1, 64, 3 * 64).view({65, 3, 64}), want = view.clone();
    ops::rope_(view, turns);
    ops::reference::rope_(want, turns);
    CHECK(at::equal(view, want));
    CHECK(at::equal(after.narrow(1, 0, 64), before.narrow(1, 0, 64)));
    CHECK(at::equal(after.narrow(1, 4 * 64, 64), before.narrow(1, 4 * 64, 64)));
  }
}

TEST_CASE("token_nll is within 1e-6 of float64 for logits of any size") {
  for (const Tolerance& tolerance : kTolerances) {
    for (const double size : {1.0, 30.0, 1e4}) {
      for (const int64_t vocabulary : {1, 17, 512, 49152}) {
        const at::Tensor logits =
            (wide(random({7, vocabulary}, at::kFloat)) * size).clamp(-1e4, 1e4).to(tolerance.dtype);
        const at::Tensor targets = at::randint(vocabulary, {7}, at::TensorOptions().dtype(at::kLong));
        const at::Tensor want = ops::reference::token_nll(wide(logits), targets);
        CAPTURE(toString(tolerance.dtype), size, vocabulary);
        CHECK((ops::token_nll(logits, targets) - want).abs().max().item<double>() < 1e-6);
        CHECK((ops::reference::token_nll(logits, targets) - want).abs().max().item<double>() < 1e-6);
      }
    }
  }
}

TEST_CASE("token_nll reads -inf as no probability, and blocks of rows change no bit") {
  for (const auto dtype : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor masked = at::tensor({0.0, -kInf, -kInf}, at::kDouble).to(dtype).expand({2, 3}).contiguous();
    const at::Tensor nll = ops::token_nll(masked, at::tensor({0, 1}, at::kLong));
    CHECK(nll[0].item<double>() == 0);
    CHECK(nll[1].item<double>() == kInf);

    const at::Tensor logits = random({65, 513}, dtype),
                     targets = at::randint(513, {65}, at::TensorOptions().dtype(at::kLong));
    const auto block = [&](int64_t begin, int64_t rows) {
      return ops::token_nll(logits.narrow(0, begin, rows), targets.narrow(0, begin, rows));
    };
    CHECK(at::equal(at::cat({block(0, 1), block(1, 31), block(32, 33)}), block(0, 65)));
  }
  CHECK_THROWS(ops::token_nll(at::zeros({1, 4}), at::tensor({4}, at::kLong)));
  CHECK_THROWS(ops::token_nll(at::zeros({1, 4}), at::tensor({-1}, at::kLong)));
}

TEST_CASE("a NaN that goes in comes out where it must, and nowhere else") {
  for (const auto dtype : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    const int64_t tokens = 130, bad = 70;
    const auto nans = [](const at::Tensor& x) { return x.isnan().sum().item<int64_t>(); };
    const at::Tensor q = random({tokens, 4, 64}, dtype), k = random({tokens, 2, 64}, dtype),
                     v = random({tokens, 2, 64}, dtype);
    CAPTURE(toString(dtype));

    at::Tensor bad_q = q.clone();
    bad_q[bad][1][5].fill_(kNan);
    const at::Tensor from_q = ops::causal_attention(bad_q, k, v);
    CHECK(nans(from_q[bad][1]) == 64);
    CHECK(nans(from_q) == 64);

    at::Tensor bad_k = k.clone();
    bad_k[bad][1][5].fill_(kNan);  // read by heads 2 and 3 from token `bad` on
    const at::Tensor from_k = ops::causal_attention(q, bad_k, v);
    CHECK(nans(from_k.narrow(0, bad, tokens - bad).narrow(1, 2, 2)) == (tokens - bad) * 2 * 64);
    CHECK(nans(from_k) == (tokens - bad) * 2 * 64);

    at::Tensor bad_v = v.clone();
    bad_v[bad][0][5].fill_(kNan);  // a weight of zero times NaN is NaN too: earlier tokens may show it
    const at::Tensor from_v = ops::causal_attention(q, k, bad_v);
    CHECK(nans(from_v.narrow(0, bad, tokens - bad).narrow(1, 0, 2).select(2, 5)) == (tokens - bad) * 2);
    CHECK(nans(from_v.narrow(1, 2, 2)) == 0);

    at::Tensor row = random({3, 40}, dtype);
    row[1][39].fill_(kNan);
    CHECK(nans(ops::rms_norm(row, at::ones({40}, row.options()), 1e-5)) == 40);
    CHECK(nans(ops::silu_mul(row, at::ones_like(row))) == 1);
    CHECK(nans(ops::silu_mul(at::ones_like(row), row)) == 1);
    CHECK(nans(ops::token_nll(row, at::zeros({3}, at::TensorOptions().dtype(at::kLong)))) == 1);
    at::Tensor turned = row.clone().view({3, 1, 40});
    ops::rope_(turned, angles(3, 40, dtype));
    CHECK(nans(turned) == 2);
  }
}

TEST_CASE("bits depend neither on the number of threads nor on the run") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    CAPTURE(toString(dtype));
    const at::Tensor q = random({777, 6, 64}, dtype), k = random({777, 2, 64}, dtype), v = random({777, 2, 64}, dtype);
    require_same_bits([&] { return ops::causal_attention(q, k, v); });
    const at::Tensor x = random({777, 576}, dtype), y = random({777, 576}, dtype), weight = random({576}, dtype);
    require_same_bits([&] { return ops::rms_norm(x, weight, 1e-5); });
    require_same_bits([&] { return ops::silu_mul(x, y); });
    const at::Tensor targets = at::randint(576, {777}, at::TensorOptions().dtype(at::kLong));
    require_same_bits([&] { return ops::token_nll(x, targets); });
    if (dtype == at::kBFloat16) {  // one row of float32 is ATen's, which splits its sums among threads
      require_same_bits([&] { return ops::causal_attention(q.slice(0, 776), k, v); });
      const at::Tensor rows = random({9000, 576}, dtype);
      require_same_bits([&] { return ops::linear(x.slice(0, 0, 1), rows, {}); });
    }
    const auto turns = angles(777, 64, dtype);
    require_same_bits([&] {
      at::Tensor turned = x.clone().view({777, 9, 64});
      ops::rope_(turned, turns);
      return turned;
    });
  }
}
