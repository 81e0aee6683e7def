// Errors of weights and outputs by hand.
#include "quant/distortion.h"

#include <cmath>
#include <limits>

#include "support/catch.h"

namespace qroar {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> numbers(const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kDouble).contiguous();
  return {wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel()};
}

using Values = std::vector<double>;

}  // namespace

TEST_CASE("a weight's errors are summed per row by hand") {
  const at::Tensor weight = at::tensor({3.f, -4.f, 0.f, 1.f, 0.25f, 2.f}).view({2, 3});
  const at::Tensor rounded = at::tensor({3.f, -2.f, 0.f, 1.5f, 0.f, 2.f}).view({2, 3});
  const WeightErrors errors = weight_errors(weight, rounded);
  CHECK(numbers(errors.signal_O) == Values{25, 5.0625});
  CHECK(numbers(errors.error_O) == Values{4, 0.3125});
  CHECK(numbers(errors.max_error_O) == Values{2, 0.5});
  CHECK(numbers(errors.clipped_O) == Values{1, 0});  // -4 lies beyond [-2, 3] and nothing between is off
  CHECK(numbers(errors.zeroed_O) == Values{0, 1});   // 0.25, and not the 0 that was there
  CHECK(errors.columns == 3);
}

TEST_CASE("clipped is what lies beyond the row's range by more than rounding is off within it") {
  // A grid of step 1 from -2 to 2: 2.4 is within rounding of its end, as 0.5 is off by 0.5; -2.75 is not.
  const at::Tensor weight = at::tensor({2.4f, 0.5f, -2.75f, 1.f, -1.25f}).view({1, 5});
  const at::Tensor rounded = at::tensor({2.f, 0.f, -2.f, 1.f, -1.f}).view({1, 5});
  CHECK(numbers(weight_errors(weight, rounded).clipped_O) == Values{1});
  // A row too small for the grid of its tensor: dropped, not clipped.
  const WeightErrors dropped = weight_errors(weight, at::zeros({1, 5}));
  CHECK(numbers(dropped.clipped_O) == Values{0});
  CHECK(numbers(dropped.zeroed_O) == Values{5});
}

TEST_CASE("rows are the same whether a weight is looked at whole or in blocks") {
  at::manual_seed(2);
  const at::Tensor weight = at::randn({2500, 8}), rounded = weight.mul(4).round().div(4).clamp(-2, 2);
  const WeightErrors whole = weight_errors(weight, rounded);
  REQUIRE(whole.clipped_O.sum().item<int64_t>() > 0);
  for (const int64_t row : {0, 1023, 1024, 2499}) {
    const WeightErrors one = weight_errors(weight.slice(0, row, row + 1), rounded.slice(0, row, row + 1));
    CHECK(one.signal_O.item<double>() == whole.signal_O[row].item<double>());
    CHECK(one.error_O.item<double>() == whole.error_O[row].item<double>());
    CHECK(one.max_error_O.item<double>() == whole.max_error_O[row].item<double>());
    CHECK(one.clipped_O.item<int64_t>() == whole.clipped_O[row].item<int64_t>());
    CHECK(one.zeroed_O.item<int64_t>() == whole.zeroed_O[row].item<int64_t>());
  }
}

TEST_CASE("differences of bfloat16 tensors are exact and not rounded to bfloat16 again") {
  const at::Tensor weight = at::tensor({256.f, 1.f}).view({1, 2}).to(at::kBFloat16);
  const at::Tensor rounded = at::tensor({0.0078125f, 1.f}).view({1, 2}).to(at::kBFloat16);
  CHECK(numbers(weight_errors(weight, rounded).max_error_O) == Values{256 - 0.0078125});
  OutputErrors outputs(2, at::kCPU);
  outputs.add(weight, rounded);
  CHECK(numbers(outputs.error_O())[0] == Approx(std::pow(256 - 0.0078125, 2)).epsilon(1e-7));
}

TEST_CASE("outputs add up over blocks, per channel") {
  OutputErrors outputs(2, at::kCPU);
  CHECK(numbers(outputs.signal_O()) == Values{0, 0});
  outputs.add(at::tensor({1.f, 2.f, 3.f, 4.f}).view({2, 2}), at::tensor({1.f, 0.f, 2.f, 4.f}).view({2, 2}));
  outputs.add(at::tensor({5.f, 6.f}).view({1, 2}), at::tensor({5.5f, 6.f}).view({1, 2}));
  CHECK(numbers(outputs.signal_O()) == Values{1 + 9 + 25, 4 + 16 + 36});
  CHECK(numbers(outputs.error_O()) == Values{1.25, 4});
}

TEST_CASE("ratios of sums: decibels and a relative error, with the ends named") {
  CHECK(snr_db(100, 1) == Approx(20));
  CHECK(snr_db(1, 2) == Approx(-3.0103).margin(1e-4));
  CHECK(snr_db(5, 0) == kInfinity);
  CHECK(snr_db(0, 0) == kInfinity);
  CHECK(snr_db(0, 3) == -kInfinity);
  CHECK(relative_error(100, 1) == 0.01);
  CHECK(relative_error(0, 0) == 0);
  CHECK(relative_error(0, 3) == kInfinity);
}

}  // namespace qroar
