// N order of the transform, M order of a construction, B order of the matrix product, R rows.
#include "ops/hadamard.h"

#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include "base/error.h"
#include "ops/ops.h"

namespace qroar::ops {
namespace {

/// Below this order a matrix product is faster than passes over memory, on both devices.
constexpr int64_t kProductOrder = 64;
/// Elements transformed at a time.
constexpr int64_t kBlockElements = int64_t{1} << 20;

bool is_prime(int64_t n) {
  for (int64_t divisor = 2; divisor * divisor <= n; ++divisor) {
    if (n % divisor == 0) return false;
  }
  return n >= 2;
}

bool is_paley_1(int64_t m) { return m % 4 == 0 && is_prime(m - 1); }
bool is_paley_2(int64_t m) { return m % 4 == 0 && m / 2 % 4 == 2 && is_prime(m / 2 - 1); }

/// A square matrix of signs under construction.
struct Signs {
  explicit Signs(int64_t order) : m(order), values(static_cast<std::size_t>(order * order)) {}
  double& at(int64_t row, int64_t column) { return values[static_cast<std::size_t>(row * m + column)]; }

  int64_t m;
  std::vector<double> values;
};

/// Returns Paley's conference matrix of order q + 1, C C^T = q I: zero diagonal, a border of ones, Legendre symbols of
/// j - i.  Antisymmetric for q = 3 mod 4, symmetric for q = 1 mod 4.
Signs conference(int64_t q) {
  std::vector<double> legendre(static_cast<std::size_t>(q), -1.0);
  for (int64_t x = 1; x < q; ++x) legendre[static_cast<std::size_t>(x * x % q)] = 1;
  legendre[0] = 0;
  Signs c(q + 1);
  for (int64_t i = 0; i < q; ++i) {
    c.at(0, i + 1) = 1;
    c.at(i + 1, 0) = q % 4 == 1 ? 1 : -1;
    for (int64_t j = 0; j < q; ++j) c.at(i + 1, j + 1) = legendre[static_cast<std::size_t>((j - i + q) % q)];
  }
  return c;
}

/// Returns I + C.
Signs paley_1(int64_t m) {
  Signs s = conference(m - 1);
  for (int64_t i = 0; i < m; ++i) s.at(i, i) = 1;
  return s;
}

/// Returns C (x) [[1, 1], [1, -1]] + I (x) [[1, -1], [-1, -1]].
Signs paley_2(int64_t m) {
  Signs c = conference(m / 2 - 1), s(m);
  for (int64_t i = 0; i < c.m; ++i) {
    for (int64_t j = 0; j < c.m; ++j) {
      const double x = c.at(i, j), diagonal = i == j ? 1 : 0;
      s.at(2 * i, 2 * j) = x + diagonal;
      s.at(2 * i, 2 * j + 1) = s.at(2 * i + 1, 2 * j) = x - diagonal;
      s.at(2 * i + 1, 2 * j + 1) = -x - diagonal;
    }
  }
  return s;
}

/// Returns Williamson's array of four symmetric circulants of order 43, A^2 + B^2 + C^2 + D^2 = 172 I.  Their first
/// rows are 1 at 0 and constant on the classes log_3(x) mod 7, the cosets {x, 6x, 36x, -x, -6x, -36x}: -1 where the
/// mask has the bit of the class.  Among the 2^28 choices of masks, seven sets have cancelling autocorrelations, found
/// by comparing sums of pairs; they are the same set up to renaming the classes.
Signs williamson_172() {
  constexpr int64_t p = 43;
  constexpr std::array<int, 4> masks = {7, 25, 44, 77};
  std::array<std::array<double, p>, 4> first;
  for (std::size_t k = 0; k < 4; ++k) {
    first[k][0] = 1;
    for (int64_t log = 0, x = 1; log < p - 1; ++log, x = x * 3 % p) {
      first[k][static_cast<std::size_t>(x)] = masks[k] >> (log % 7) & 1 ? -1 : 1;
    }
  }
  constexpr int blocks[4][4] = {{0, 1, 2, 3}, {1, 0, 3, 2}, {2, 3, 0, 1}, {3, 2, 1, 0}};
  constexpr int signs[4][4] = {{1, 1, 1, 1}, {-1, 1, -1, 1}, {-1, 1, 1, -1}, {-1, -1, 1, 1}};
  Signs s(4 * p);
  for (int64_t i = 0; i < 4 * p; ++i) {
    for (int64_t j = 0; j < 4 * p; ++j) {
      const auto& row = first[static_cast<std::size_t>(blocks[i / p][j / p])];
      s.at(i, j) = signs[i / p][j / p] * row[static_cast<std::size_t>((j % p - i % p + p) % p)];
    }
  }
  return s;
}

/// Returns the order m of the construction for n, if there is one.
std::optional<int64_t> find_order(int64_t n) {
  if (n < 1) return std::nullopt;
  int64_t odd = n;
  while (odd % 2 == 0) odd /= 2;
  if (odd == 1) return 1;
  for (int64_t m = 4 * odd; n % m == 0; m *= 2) {
    if (is_paley_1(m) || is_paley_2(m) || m == 172) return m;
  }
  return std::nullopt;
}

}  // namespace

int64_t hadamard_order(int64_t n) {
  if (const auto order = find_order(n)) return *order;
  int64_t below = n - 1, above = std::max<int64_t>(n, 0) + 1;
  while (below > 0 && !find_order(below)) --below;
  while (!find_order(above)) ++above;
  fail("no Hadamard matrix of order {} is known here; the nearest orders are {}", n,
       below > 0 ? fmt::format("{} and {}", below, above) : fmt::format("{}", above));
}

at::Tensor reference::hadamard_signs(int64_t n) {
  const int64_t m = hadamard_order(n);
  if (n > m) {
    const at::Tensor half = hadamard_signs(n / 2);
    return at::cat({at::cat({half, half}, 1), at::cat({half, -half}, 1)}, 0);
  }
  if (m == 1) return at::ones({1, 1}, at::kDouble);
  const Signs s = m == 172 ? williamson_172() : is_paley_1(m) ? paley_1(m) : paley_2(m);
  return at::tensor(s.values, at::kDouble).view({m, m});
}

Hadamard::Hadamard(int64_t n, at::ScalarType dtype, const at::Device& device) : n_(n) {
  int64_t order = hadamard_order(n);
  while (order < std::min(n, kProductOrder)) order *= 2;
  signs_BB_ = reference::hadamard_signs(order).to(device, dtype == at::kDouble ? at::kDouble : at::kFloat);
}

at::Tensor Hadamard::operator()(const at::Tensor& x) const {
  check(x.size(-1) == n_, "a Hadamard transform of another order");
  if (is_differentiated(x)) return differentiable(x);
  const at::Tensor x_RN = x.reshape({-1, n_}), out_RN = at::empty(x_RN.sizes(), x.options());
  const int64_t rows = std::max<int64_t>(kBlockElements / n_, 1);
  for (int64_t begin = 0; begin < x_RN.size(0); begin += rows) {
    const int64_t end = std::min(begin + rows, x_RN.size(0));
    transform_rows(x_RN.slice(0, begin, end), out_RN.slice(0, begin, end));
  }
  return out_RN.view(x.sizes());
}

/// Uses S = S_(n/B) (x) S_B, where S_(n/B) is Sylvester's.
at::Tensor Hadamard::differentiable(const at::Tensor& x) const {
  const int64_t B = signs_BB_.size(0);
  const at::Tensor outer_signs = reference::hadamard_signs(n_ / B).to(signs_BB_.options());
  const at::Tensor inner = at::matmul(x.to(signs_BB_.scalar_type()).reshape({-1, n_ / B, B}), signs_BB_.t());
  const at::Tensor sums = at::matmul(outer_signs, inner);
  return (sums * (1 / std::sqrt(static_cast<double>(n_)))).to(x.scalar_type()).view(x.sizes());
}

void Hadamard::transform_rows(const at::Tensor& x_RN, const at::Tensor& out_RN) const {
  const int64_t B = signs_BB_.size(0);
  at::Tensor from =
      x_RN.to(signs_BB_.scalar_type(), /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
  at::Tensor to = at::empty_like(from);
  for (int64_t half = B; half < n_; half *= 2) {
    const at::Tensor pairs = from.view({-1, 2, half}), results = to.view({-1, 2, half});
    at::Tensor sum = results.select(1, 0), difference = results.select(1, 1);
    at::add_out(sum, pairs.select(1, 0), pairs.select(1, 1));
    at::sub_out(difference, pairs.select(1, 0), pairs.select(1, 1));
    std::swap(from, to);
  }
  at::Tensor product = to.view({-1, B});
  at::mm_out(product, from.view({-1, B}), signs_BB_.t());
  out_RN.copy_(to.mul_(1 / std::sqrt(static_cast<double>(n_))));
}

}  // namespace qroar::ops
