// Hadamard matrices are what they claim to be, and the fast transform is their product.
#include "ops/hadamard.h"

#include <bit>

#include "support/catch.h"
#include "support/errors.h"

namespace qroar {
namespace {

using ops::Hadamard;
using ops::reference::hadamard_signs;

/// S x / sqrt(n) of integers, exact in float64 but for the last product, as the transform's contract has it.
at::Tensor product(const at::Tensor& x_RN, at::ScalarType dtype) {
  const int64_t n = x_RN.size(1);
  const at::Tensor sums_RN = at::mm(x_RN.to(at::kDouble), hadamard_signs(n).t());
  return sums_RN.to(dtype) * (1 / std::sqrt(static_cast<double>(n)));
}

}  // namespace

TEST_CASE("small transforms are those worked out by hand") {
  const Hadamard four(4, at::kDouble, at::kCPU);
  CHECK(
      at::equal(four(at::tensor({1.0, 2.0, 3.0, 4.0}, at::kDouble)), at::tensor({5.0, -1.0, -2.0, 0.0}, at::kDouble)));
  const Hadamard one(1, at::kFloat, at::kCPU);
  CHECK(at::equal(one(at::tensor({3.f})), at::tensor({3.f})));
  // Paley's first construction: the squares modulo 11 are 1, 3, 4, 5 and 9.
  const at::Tensor twelve = hadamard_signs(12);
  CHECK(at::equal(twelve[0], at::ones({12}, at::kDouble)));
  CHECK(at::equal(twelve[1], at::tensor({-1., 1., 1., -1., 1., 1., 1., -1., -1., -1., 1., -1.}, at::kDouble)));
}

TEST_CASE("every construction gives a matrix of signs whose rows are orthogonal") {
  // Paley's first: 12 20 44 60 84 108 140; second: 28 36 76 148 924; 52 = 4 * 13 has neither, 104 has the first;
  // Williamson's: 172.  The others double one of them.
  for (const int64_t n : {1, 2, 4, 12, 20, 24, 28, 36, 44, 60, 72, 76, 84, 104, 108, 140, 148, 172, 344, 924}) {
    CAPTURE(n);
    const at::Tensor signs = hadamard_signs(n);
    CHECK((signs.abs() == 1).all().item<bool>());
    CHECK(at::equal(at::mm(signs, signs.t()), at::eye(n, at::kDouble) * n));
  }
}

TEST_CASE("the order of the construction under a size") {
  CHECK(ops::hadamard_order(4096) == 1);
  CHECK(ops::hadamard_order(576) == 36);
  CHECK(ops::hadamard_order(704) == 44);
  CHECK(ops::hadamard_order(1536) == 12);
  CHECK(ops::hadamard_order(5120) == 20);
  CHECK(ops::hadamard_order(11008) == 172);
  CHECK(ops::hadamard_order(13824) == 108);
  CHECK(ops::hadamard_order(28672) == 28);
  CHECK(ops::hadamard_order(104) == 104);
}

TEST_CASE("a size without a known Hadamard matrix is an error that names its neighbours") {
  CHECK(error_text([] { ops::hadamard_order(100); }) ==
        "no Hadamard matrix of order 100 is known here; the nearest orders are 96 and 104");
  CHECK(contains(error_text([] { ops::hadamard_order(9); }), "order 9 is"));
  CHECK(contains(error_text([] { ops::hadamard_order(6); }), "4 and 8"));
  CHECK(contains(error_text([] { ops::hadamard_order(0); }), "the nearest orders are 1"));
}

TEST_CASE("the fast transform is the matrix product, exactly on integers, and leaves its input alone") {
  at::manual_seed(3);
  for (const int64_t n : {2, 16, 64, 128, 256, 576, 704, 768, 1536, 4096}) {
    for (const auto dtype : {at::kDouble, at::kFloat}) {
      CAPTURE(n, at::toString(dtype));
      const at::Tensor x = at::randint(-9, 10, {5, n}, at::kDouble).to(dtype), before = x.clone();
      const at::Tensor found = Hadamard(n, dtype, at::kCPU)(x);
      CHECK(found.scalar_type() == dtype);
      CHECK(at::equal(found, product(x, dtype)));
      CHECK(at::equal(x, before));
    }
  }
}

TEST_CASE("columns of large transforms are Kronecker products of Sylvester's signs and a small matrix's") {
  at::manual_seed(4);
  for (const int64_t n : {5120, 11008, 13824, 14336, 28672}) {
    const int64_t m = ops::hadamard_order(n);
    const at::Tensor small = hadamard_signs(m);
    const auto sign = small.accessor<double, 2>();
    const at::Tensor columns = at::randint(n, {8}, at::kLong);
    const at::Tensor found = Hadamard(n, at::kDouble, at::kCPU)(at::one_hot(columns, n).to(at::kDouble));
    at::Tensor expected = at::empty({8, n}, at::kDouble);
    for (int64_t i = 0; i < 8; ++i) {
      const auto column = columns[i].item<int64_t>();
      for (int64_t row = 0; row < n; ++row) {
        const int flips = std::popcount(static_cast<uint64_t>((row / m) & (column / m)));
        expected.mutable_data_ptr<double>()[i * n + row] = (flips % 2 == 0 ? 1 : -1) * sign[row % m][column % m];
      }
    }
    CAPTURE(n);
    CHECK(at::equal(found, expected * (1 / std::sqrt(static_cast<double>(n)))));
  }
}

TEST_CASE("transforms in narrow dtypes are float32 inside and cast once") {
  at::manual_seed(5);
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    for (const int64_t n : {64, 704}) {
      CAPTURE(n, at::toString(dtype));
      const at::Tensor x = at::randn({33, 4, n}).to(dtype);
      const at::Tensor found = Hadamard(n, dtype, at::kCPU)(x);
      CHECK(found.sizes() == x.sizes());
      CHECK(found.scalar_type() == dtype);
      CHECK(at::equal(found, Hadamard(n, at::kFloat, at::kCPU)(x.to(at::kFloat)).to(dtype)));
    }
  }
}

TEST_CASE("rows do not depend on each other, many rows go in blocks, and views are taken as they are") {
  at::manual_seed(6);
  const Hadamard hadamard(64, at::kFloat, at::kCPU);
  const at::Tensor x = at::randint(-9, 10, {40000, 64}, at::kFloat);  // more than two blocks of 2^20 elements
  const at::Tensor all = hadamard(x);
  CHECK(at::equal(all, product(x, at::kFloat)));
  CHECK(at::equal(hadamard(x.slice(0, 1, 40000, 7)), all.slice(0, 1, 40000, 7)));
  CHECK(at::equal(hadamard(x.view({64, 625, 64}).transpose(0, 1)), all.view({64, 625, 64}).transpose(0, 1)));
}

TEST_CASE("one large value is spread over all channels, and the norm stays") {
  at::Tensor x = at::zeros({11008}, at::kDouble);
  x[77] = 1000;
  const at::Tensor spread = Hadamard(11008, at::kDouble, at::kCPU)(x);
  CHECK(spread.abs().max().item<double>() == Approx(1000 / std::sqrt(11008.0)));
  CHECK(spread.norm().item<double>() == Approx(1000));
}

}  // namespace qroar
