// On a device: code books (our kernel), FP8, MX and NVFP4 (ATen) equal the CPU bit for bit.
#include <limits>

#include "ops/codebook.h"
#include "ops/small_float.h"
#include "support/catch.h"

namespace qroar {
namespace {

/// Weights with a row of zeros, a constant row, magnitudes from 2^-40 to 2^10 and, in float32, subnormal ones.
std::vector<at::Tensor> weights() {
  at::manual_seed(11);
  std::vector<at::Tensor> all;
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    at::Tensor weight = at::randn({97, 576}) * 0.03;
    weight[3].zero_();
    weight[4].fill_(0.25);
    weight[5] *= at::pow(2.0, at::randint(-40, 11, {576}));
    all.push_back(weight.to(dtype));
  }
  all.push_back(all.front() * 0x1p-124);
  return all;
}

template <class Quantize>
void compare(const Quantize& quantize) {
  for (const at::Tensor& weight : weights()) {
    INFO(at::toString(weight.scalar_type()) << ", largest " << weight.abs().max().item<double>());
    REQUIRE(at::equal(quantize(weight.to(at::kCUDA)).to(at::kCPU), quantize(weight)));
  }
}

}  // namespace

TEST_CASE("code books on the GPU equal the CPU bit for bit", "[gpu]") {
  for (const ops::CodeBook* book : {&ops::kNf4, &ops::kFp4, &ops::kAf4}) {
    // 97 * 576 = 55872 = 27 * 2048 + 576: blocks of 2048 and 4096 cross rows, and the last is short.
    for (const int64_t block : {32, 64, 128, 2048, 4096}) {
      for (const bool double_quant : {false, true}) {
        INFO("block " << block << " double_quant " << double_quant);
        compare([&](const at::Tensor& w) { return ops::codebook_fake_quant(w, block, *book, double_quant); });
      }
    }
  }
}

TEST_CASE("a NaN weight makes its block NaN on the GPU", "[gpu]") {
  at::Tensor weight = at::ones({2, 64});
  weight[0][40] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor out = ops::codebook_fake_quant(weight.to(at::kCUDA), 32, ops::kNf4, false).to(at::kCPU);
  REQUIRE(out.isnan().sum().item<int64_t>() == 32);
  REQUIRE(out[0].slice(0, 32, 64).isnan().all().item<bool>());
}

TEST_CASE("FP8, MX and NVFP4 on the GPU equal the CPU bit for bit", "[gpu]") {
  for (const ops::FloatFormat& format : {ops::kE2M1, ops::kE2M3, ops::kE3M2, ops::kE4M3, ops::kE5M2}) {
    INFO("largest value " << format.largest);
    compare([&](const at::Tensor& w) { return ops::mx_fake_quant(w, format); });
    for (const int64_t group : {-1, 0, 64}) {
      compare([&](const at::Tensor& w) { return ops::scaled_float_fake_quant(w, group, format); });
    }
  }
  const auto largest = [](const at::Tensor& w_OI) { return w_OI.abs().amax().to(at::kFloat); };
  const auto largest_of_rows = [](const at::Tensor& w_OI) { return w_OI.abs().amax(1, true).to(at::kFloat); };
  compare([&](const at::Tensor& w) { return ops::nvfp4_fake_quant(w, largest(w)); });
  compare([&](const at::Tensor& w) { return ops::nvfp4_fake_quant(w, largest_of_rows(w)); });
}

}  // namespace qroar
