// NF4, FP4 and AF4: the tables, ties, blocks that cross rows, and double quantization by hand.  Against bitsandbytes:
// tests/peers/test_formats.py.
#include "ops/codebook.h"

#include <cmath>
#include <limits>

#include "config/config.h"
#include "quant/quantizer.h"
#include "support/catch.h"
#include "support/errors.h"

namespace qroar {
namespace {

/// One block: the values and a 1 in front, which makes the absmax 1.
at::Tensor with_one(const std::vector<float>& values) {
  std::vector<float> row{1.0f};
  row.insert(row.end(), values.begin(), values.end());
  return at::tensor(row).view({1, -1});
}

at::Tensor plain(const at::Tensor& weight, const ops::CodeBook& book, int64_t block = 64) {
  return ops::codebook_fake_quant(weight, block, book, /*double_quant=*/false);
}

const std::vector<std::pair<const char*, const ops::CodeBook*>> kBooks{
    {"nf4", &ops::kNf4}, {"fp4", &ops::kFp4}, {"af4", &ops::kAf4}};

}  // namespace

TEST_CASE("every value of a code book maps to itself, whatever power of two the block is scaled by") {
  for (const auto& [name, book] : kBooks) {
    for (const float scale : {1.0f, 0.25f, 0x1p-100f, 0x1p100f}) {
      INFO(name << " " << scale);
      const at::Tensor row = with_one({book->codes, book->codes + 16}) * scale;
      CHECK(at::equal(plain(row, *book), row));
    }
  }
}

TEST_CASE("a weight on a threshold takes the lower value, the next float32 above it the upper one") {
  for (const auto& [name, book] : kBooks) {
    for (int i = 0; i < 15; ++i) {
      INFO(name << " threshold " << i);
      const float threshold = book->thresholds[i];
      const at::Tensor out = plain(with_one({threshold, std::nextafter(threshold, 2.0f)}), *book);
      CHECK(out[0][1].item<float>() == book->codes[i]);
      CHECK(out[0][2].item<float>() == book->codes[i + 1]);
    }
  }
}

TEST_CASE("NF4's thresholds are those of bitsandbytes' kernels") {
  // bitsandbytes' table (docs/method.md 7.2); decimal digits beyond float32.
  const std::vector<double> expected{
      -0.8480964004993439,  -0.6106329262256622,   -0.4599952697753906, -0.33967943489551544, -0.23460740596055984,
      -0.13791173323988914, -0.045525018125772476, 0.03979014977812767, 0.1202552504837513,   0.2035212516784668,
      0.2920137718319893,   0.3893125355243683,    0.5016634166240692,  0.6427869200706482,   0.8614784181118011};
  for (std::size_t i = 0; i < 15; ++i) CHECK(ops::kNf4.thresholds[i] == static_cast<float>(expected[i]));
}

TEST_CASE("the largest magnitude of a block is kept, and a negative one is the lowest value") {
  // x = -1, 0.5 / 2 = 0.25: between 0.1609 and 0.2461 | 0.3379, the threshold above is 0.2920.
  const at::Tensor out = plain(at::tensor({-2.0f, 0.5f}).view({1, 2}), ops::kNf4);
  CHECK(out[0][0].item<float>() == -2.0f);
  CHECK(out[0][1].item<float>() == 0.24611230194568634f * 2);
  // FP4 has both signs of every magnitude: 0.25 lies between 2/12 and 3/12 = 0.25.
  CHECK(plain(at::tensor({-2.0f, 0.5f}).view({1, 2}), ops::kFp4)[0][1].item<float>() == 0.5f);
}

TEST_CASE("blocks run over the flattened weight: one crosses rows and the last is short") {
  at::manual_seed(2);
  const at::Tensor weight = at::randn({5, 20}), flat = weight.view({1, 100});
  const at::Tensor out = plain(weight, ops::kNf4, 32).view({1, 100});
  for (int64_t begin = 0; begin < 100; begin += 32) {
    const at::Tensor part = flat.slice(1, begin, std::min<int64_t>(begin + 32, 100)).contiguous();
    CHECK(at::equal(out.slice(1, begin, std::min<int64_t>(begin + 32, 100)), plain(part, ops::kNf4, 32)));
  }
}

TEST_CASE("a block of zeros stays zero and a NaN makes its block NaN and no other") {
  at::Tensor weight = at::zeros({3, 32});
  weight[2].fill_(0.5);
  weight[2][7] = std::numeric_limits<float>::quiet_NaN();
  for (const auto& [name, book] : kBooks) {
    INFO(name);
    const at::Tensor out = plain(weight, *book, 32);
    CHECK(out.slice(0, 0, 2).count_nonzero().item<int64_t>() == 0);
    CHECK(out[2].isnan().all().item<bool>());
  }
}

TEST_CASE("the dynamic map has 256 ascending values between -0.993 and 1, its largest steps at the ends") {
  const at::Tensor map = ops::dynamic_map();
  REQUIRE(map.numel() == 256);
  CHECK((map.slice(0, 1) > map.slice(0, 0, -1)).all().item<bool>());
  // Level 6: 64 middles between 0.1 and 1, steps of 0.9 / 64; level 0: the middle of 0.1 and 1, times 1e-6.
  CHECK(map[255].item<float>() == 1.0f);
  CHECK(map[254].item<double>() == Approx(1 - 0.45 / 64));
  CHECK(map[0].item<double>() == Approx(-(1 - 0.45 / 64)));
  CHECK(map[127].item<float>() == 0.0f);
  CHECK(map[128].item<double>() == Approx(0.55e-6));
}

TEST_CASE("double quantization moves a block's absmax to the map's values about the mean") {
  // Absmax 1, 2 and 6: mean 3, rest -2, -1, 3, over 3: -2/3, -1/3, 1.  The map's top level has middles 0.1 + (k + 1/2)
  // * 0.9/64: -2/3 is nearest to k = 40, -1/3 to k = 16 (k + 1/2 = 16.59), and 1 is there.
  const double step = 0.9 / 64;
  const std::vector<double> expected{3 - 3 * (0.1 + 40.5 * step), 3 - 3 * (0.1 + 16.5 * step), 6};
  at::Tensor weight = at::zeros({3, 32});
  weight[0][4] = -1;
  weight[1][5] = 2;
  weight[2][6] = 6;
  const at::Tensor out = ops::codebook_fake_quant(weight, 32, ops::kNf4, /*double_quant=*/true);
  CHECK(out[0][4].item<double>() == Approx(-expected[0]));
  CHECK(out[1][5].item<double>() == Approx(expected[1]));
  CHECK(out[2][6].item<double>() == Approx(expected[2]));
  CHECK(out.count_nonzero().item<int64_t>() == 3);
}

TEST_CASE("code books: bits per weight, which blocks lie within rows, and errors with their place") {
  const auto build = [](const std::string& yaml) {
    return Registry<Quantizer>::instance().build(Config::parse(yaml, "q.yaml"));
  };
  const LinearSite up{"layers.0.mlp.up_proj", 11008, 4096};
  CHECK(build("{type: nf4}")->bits_per_weight(up) == 4.5);
  CHECK(build("{type: fp4, block: 128}")->bits_per_weight(up) == 4.25);
  // 8 bits a block of 64, 32 bits a block of 256 blocks, 32 bits for the mean.
  CHECK(build("{type: nf4, double_quant: true}")->bits_per_weight(up) ==
        Approx(4 + 8.0 / 64 + 32.0 / 16384 + 32.0 / (11008.0 * 4096)).epsilon(1e-12));
  // Three weights take one block with its own scale.
  CHECK(build("{type: nf4}")->bits_per_weight({"x", 1, 3}) == Approx(4 + 32.0 / 3));

  CHECK(build("{type: nf4}")->commutes_with_row_scaling({"x", 64, 576}) == RowScaling::any);
  CHECK(build("{type: nf4, block: 128}")->commutes_with_row_scaling({"x", 64, 576}) == RowScaling::differs);
  CHECK(build("{type: nf4, double_quant: true}")->commutes_with_row_scaling({"x", 64, 576}) == RowScaling::differs);
  CHECK(build("{type: nf4}")->idempotent());
  CHECK_FALSE(build("{type: nf4, double_quant: true}")->idempotent());

  CHECK(contains(error_text([&] { build("{type: nf4, block: 48}"); }), "q.yaml:1:"));
  CHECK(contains(error_text([&] { build("{type: nf4, block: 48}"); }), "48 is no power of two from 32 to 4096"));
  CHECK(contains(error_text([&] { build("{type: fp4, block: 16}"); }), "16 is no power of two from 32 to 4096"));
  CHECK(contains(error_text([&] { build("{type: af4, block: 128}"); }), "af4's table is made for blocks of 64"));
}

}  // namespace qroar
