// FP8, MX and NVFP4: grids, ties, saturation and scales by hand.  Against ml_dtypes: tests/peers/test_formats.py.
#include "ops/small_float.h"

#include <limits>

#include "config/config.h"
#include "quant/quantizer.h"
#include "support/catch.h"
#include "support/errors.h"

namespace qroar {
namespace {

using Values = std::vector<float>;

Values values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

Values rounded(const Values& x, const ops::FloatFormat& format) {
  return values_of(ops::round_to(at::tensor(x), format));
}

/// A row of `columns` that begins with the values and goes on with zeros.
at::Tensor row_of(const Values& values, int64_t columns) {
  return at::constant_pad_nd(at::tensor(values), {0, columns - static_cast<int64_t>(values.size())}).view({1, columns});
}

std::vector<float> first(const at::Tensor& tensor, int64_t count) {
  return values_of(tensor.flatten().slice(0, 0, count));
}

/// All finite magnitudes of a format in ascending order: codes in their order.
Values magnitudes(const ops::FloatFormat& format) {
  Values all;
  const int bias = (1 << (format.exponent_bits - 1)) - 1, fractions = 1 << format.mantissa_bits;
  for (int code = 0;; ++code) {
    const int exponent = code / fractions, mantissa = code % fractions;
    const double value = exponent == 0 ? std::ldexp(mantissa, 1 - bias - format.mantissa_bits)
                                       : std::ldexp(fractions + mantissa, exponent - bias - format.mantissa_bits);
    all.push_back(static_cast<float>(value));
    if (value == format.largest) return all;
  }
}

const std::vector<std::pair<const char*, ops::FloatFormat>> kFormats{
    {"e2m1", ops::kE2M1}, {"e2m3", ops::kE2M3}, {"e3m2", ops::kE3M2}, {"e4m3", ops::kE4M3}, {"e5m2", ops::kE5M2}};

std::unique_ptr<Quantizer> build(const std::string& yaml) {
  return Registry<Quantizer>::instance().build(Config::parse(yaml, "q.yaml"));
}

/// In rows of `columns`.
at::Tensor nvfp4(const Values& in, int64_t columns, const std::string& global_scale = "tensor") {
  return build("{type: nvfp4, global_scale: " + global_scale + "}")
      ->fake_quantize(at::tensor(in).view({-1, columns}))
      .flatten();
}

}  // namespace

TEST_CASE("every value of a small float format maps to itself, and a tie to the neighbour with the even code") {
  for (const auto& [name, format] : kFormats) {
    const Values all = magnitudes(format);
    INFO(name << ", " << all.size() << " magnitudes");
    CHECK(all.size() == (format.largest == 448     ? 127U
                         : format.largest == 57344 ? 124U
                                                   : 1U << (format.exponent_bits + format.mantissa_bits)));
    CHECK(rounded(all, format) == all);
    for (std::size_t code = 0; code + 1 < all.size(); ++code) {
      const float middle = (all[code] + all[code + 1]) / 2, even = all[code + code % 2];
      CHECK(rounded({middle, -middle}, format) == Values{even, -even});
      CHECK(rounded({std::nextafter(middle, 0.0f), std::nextafter(middle, 1e6f)}, format) ==
            Values{all[code], all[code + 1]});
    }
  }
}

TEST_CASE("what is too large for a small float format becomes its largest value, infinity too, and NaN stays") {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const auto& [name, format] : kFormats) {
    INFO(name);
    const auto top = static_cast<float>(format.largest);
    CHECK(rounded({top * 1.01f, -top * 1.3f, 3e38f, infinity, -infinity}, format) == Values{top, -top, top, top, -top});
    CHECK(ops::round_to(at::tensor({std::nanf("")}), format).isnan().item<bool>());
  }
}

TEST_CASE("our 8-bit formats round as ATen's float8 types do") {
  at::manual_seed(3);
  const at::Tensor x = at::randn({100000}) * at::pow(2.0, at::randint(-20, 8, {100000})).to(at::kFloat);
  const auto through = [](const at::Tensor& t, at::ScalarType dtype) { return t.to(dtype).to(at::kFloat); };
  CHECK(at::equal(ops::round_to(x, ops::kE4M3), through(x.clamp(-448, 448), at::kFloat8_e4m3fn)));
  CHECK(at::equal(ops::round_to(x, ops::kE5M2), through(x, at::kFloat8_e5m2)));
}

TEST_CASE("FP8 maps a group's largest magnitude to the format's largest value") {
  // Scale 896 / 448 = 2: 5 / 2 = 2.5 is there, 33 / 2 = 16.5 lies between 16 and 18, 17 * 2 is the tie of 16 and 18 and
  // goes to 16 (its mantissa is even), 2^-9 * 2 is the smallest subnormal and half of it a tie with 0.
  const Values in{-896, 5, 33, 34, 0x1p-8f, 0x1p-9f}, out{-896, 5, 32, 32, 0x1p-8f, 0};
  CHECK(values_of(ops::scaled_float_fake_quant(at::tensor(in).view({1, 6}), 0, ops::kE4M3)) == out);
  // Scale 57344 * 4: 3 * 4 * 2^14 stays, 2.25 * 4 is a tie between 2 and 2.5.
  CHECK(values_of(ops::scaled_float_fake_quant(at::tensor({57344.0f * 4, 12 * 0x1p14f, 9.0f}).view({1, 3}), 0,
                                               ops::kE5M2)) == Values{57344.0f * 4, 12 * 0x1p14f, 8});
}

TEST_CASE("FP8's groups run along the inputs; 0 is one group a row and -1 one over the tensor") {
  at::manual_seed(4);
  const at::Tensor weight = at::randn({4, 8}) * at::tensor({1.0f, 3.0f, 10.0f, 0.01f}).view({4, 1});
  const auto fp8 = [](const at::Tensor& w, int64_t group) {
    return ops::scaled_float_fake_quant(w, group, ops::kE4M3);
  };
  CHECK(at::equal(fp8(weight, 4), fp8(weight.view({8, 4}), 0).view({4, 8})));
  CHECK(at::equal(fp8(weight, 0), fp8(weight, 8)));
  CHECK(at::equal(fp8(weight, -1), fp8(weight.view({1, 32}), 0).view({4, 8})));
  CHECK_FALSE(at::equal(fp8(weight, 0), fp8(weight, -1)));
  // A magnitude so small that the scale is 0 in float32.
  CHECK(fp8(at::full({1, 2}, 1e-44f), 0).count_nonzero().item<int64_t>() == 0);
}

TEST_CASE("an MX scale is the power of two that brings the largest magnitude into the format's top binade") {
  const auto mxfp4 = [](const Values& in) {
    return first(ops::mx_fake_quant(row_of(in, 32), ops::kE2M1), static_cast<int64_t>(in.size()));
  };
  // 4 = 2^2: scale 1.  The grid is 0, 0.5, 1, 1.5, 2, 3, 4, 6; 0.25 and 2.5 are ties.
  CHECK(mxfp4({4, 0.25f, 0.26f, -2.5f, 1.2f, 3.4f}) == Values{4, 0, 0.5f, -2, 1, 3});
  // Just below 4 the scale is 1/2, and 3.99 / 0.5 saturates at 6.
  CHECK(mxfp4({3.99f, 0.3f, -1.9f}) == Values{3, 0.25f, -2});
  // 7 saturates; 8 has the scale 2.
  CHECK(mxfp4({7, 1}) == Values{6, 1});
  CHECK(mxfp4({-8, 1, 1.1f}) == Values{-8, 1, 1});
  CHECK(mxfp4({0, 0}) == Values{0, 0});
  // e3m2's top binade is 16..28: 16 keeps scale 1.  e2m3's is 4..7.5, steps of 0.5 there.
  CHECK(first(ops::mx_fake_quant(row_of({16, 27, 0.3f}, 32), ops::kE3M2), 3) == Values{16, 28, 0.3125f});
  CHECK(first(ops::mx_fake_quant(row_of({7.9f, 5.2f, 0.05f}, 32), ops::kE2M3), 3) == Values{7.5f, 5, 0});
  CHECK(first(ops::mx_fake_quant(row_of({511, 1.0625f}, 32), ops::kE4M3), 2) == Values{448, 1});
}

TEST_CASE("MX scales end at 2^-127, and blocks do not see each other") {
  const float tiny = 0x1p-127f;  // of float32's subnormals
  CHECK(first(ops::mx_fake_quant(row_of({6 * tiny, tiny, tiny / 4}, 32), ops::kE2M1), 3) == Values{6 * tiny, tiny, 0});
  CHECK(first(ops::mx_fake_quant(row_of({tiny, tiny / 2}, 32), ops::kE2M1), 2) == Values{tiny, tiny / 2});

  at::manual_seed(5);
  at::Tensor weight = at::randn({2, 64});
  weight[0][3] = std::nanf("");
  weight[1][40] = std::numeric_limits<float>::infinity();
  const at::Tensor out = ops::mx_fake_quant(weight, ops::kE4M3);
  CHECK(out[0].slice(0, 0, 32).isnan().all().item<bool>());
  CHECK(out[1].slice(0, 32, 64).isnan().all().item<bool>());
  CHECK_FALSE(out[0].slice(0, 32, 64).isnan().any().item<bool>());
  CHECK(at::equal(out[1].slice(0, 0, 32),
                  ops::mx_fake_quant(weight[1].slice(0, 0, 32).view({1, 32}).contiguous(), ops::kE4M3)[0]));
}

TEST_CASE("NVFP4: the tensor's scale, a block's e4m3 scale and e2m1 values") {
  // absmax 2688 = 6 * 448: tensor scale 1.  Block 0 has scale 448; block 1 has absmax 102, 102 / 6 = 17, a tie between
  // 16 and 18, which goes to 16: 102 / 16 saturates at 6, 40 / 16 = 2.5 is a tie and goes to 2.
  Values in(32, 0.0f);
  in[0] = 2688;
  in[1] = 448 * 0.7f;
  in[16] = -102;
  in[17] = 40;
  const at::Tensor out = nvfp4(in, 32);
  CHECK(first(out, 2) == Values{2688, 224});
  CHECK(first(out.slice(0, 16), 2) == Values{-96, 32});
  CHECK(out.count_nonzero().item<int64_t>() == 4);
  // A block whose scale is below half of e4m3's smallest, 2^-9, becomes 0; at 2^-9 it is kept.
  in[16] = 6 * 0x1p-11f;
  in[17] = 0;
  CHECK(nvfp4(in, 32)[16].item<float>() == 0.0f);
  in[16] = 6 * 0x1p-9f;
  CHECK(nvfp4(in, 32)[16].item<float>() == 6 * 0x1p-9f);
}

TEST_CASE("NVFP4 with a global scale a token: each row has the bits that it has as a tensor of its own") {
  // Row 1's own maximum is 2688 / 8, which makes its global scale 1/8: 6 * 2^-11, which becomes 0 under the tensor's 1,
  // has the block scale 2^-11 / (1/8) = 2^-8, which e4m3 holds.
  Values in(64, 0.0f);
  in[0] = 2688;
  in[32] = 336;
  in[48] = 6 * 0x1p-11f;
  CHECK(nvfp4(in, 32)[48].item<float>() == 0.0f);
  CHECK(nvfp4(in, 32, "token")[48].item<float>() == 6 * 0x1p-11f);
  CHECK(nvfp4(in, 32, "token")[32].item<float>() == 336);

  at::manual_seed(6);
  const auto token = build("{type: nvfp4, global_scale: token}"), tensor = build("{type: nvfp4}");
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    at::Tensor x = (at::randn({40, 64}) * at::pow(2.0, at::randint(-12, 12, {40, 1}))).to(dtype);
    x[7].zero_();
    const at::Tensor quantized = token->fake_quantize(x);
    CHECK_FALSE(at::equal(quantized, tensor->fake_quantize(x)));
    for (int64_t row = 0; row < 40; ++row) {
      const at::Tensor alone = x.slice(0, row, row + 1);
      REQUIRE(at::equal(quantized.slice(0, row, row + 1), tensor->fake_quantize(alone)));
    }
    // What comes later changes nothing: other tokens, more of them, and a broken one.
    at::Tensor later = x.clone();
    later.slice(0, 20) *= 1000;
    later[39][3] = std::nanf("");
    CHECK(at::equal(token->fake_quantize(later).slice(0, 0, 20), quantized.slice(0, 0, 20)));
    CHECK(at::equal(token->fake_quantize(x.slice(0, 0, 20)), quantized.slice(0, 0, 20)));
  }
  CHECK(token->bits_per_weight({"layers.0.mlp.up_proj", 1536, 576}) == Approx(4.5 + 32.0 / 576));
  CHECK(contains(error_text([] { build("{type: nvfp4, global_scale: row}"); }), "tensor, token"));
}

TEST_CASE("NVFP4 on a range known beforehand is NVFP4 of a tensor with that maximum, and saturates beyond it") {
  const auto tensor = build("{type: nvfp4}");
  const auto quantize = tensor->with_range(at::scalar_tensor(-2688.0f), at::scalar_tensor(1.0f));
  REQUIRE(quantize);
  at::manual_seed(7);
  at::Tensor x = at::randn({4, 32}) * 100;
  x[3][31] = 2688;
  CHECK(at::equal(quantize(x), tensor->fake_quantize(x)));
  CHECK(at::equal(quantize(x.slice(0, 0, 2)), tensor->fake_quantize(x).slice(0, 0, 2)));
  CHECK(at::equal(quantize(at::full({1, 16}, -1e6f)), at::full({1, 16}, -2688.0f)));
  CHECK_FALSE(
      build("{type: nvfp4, global_scale: token}")->with_range(at::scalar_tensor(-1.0f), at::scalar_tensor(1.0f)));
}

TEST_CASE("FP8 on a range known beforehand has the scale of the end that is farther from 0") {
  const auto quantize =
      build("{type: fp8, group: -1}")->with_range(at::scalar_tensor(-896.0f), at::scalar_tensor(1.0f));
  REQUIRE(quantize);
  // The scale is 896 / 448 = 2: -896 is met, and 1000 stays at the same size.
  CHECK(at::equal(quantize(at::tensor({-896.f, 1000.f, 33.f, 35.f})), at::tensor({-896.f, 896.f, 32.f, 36.f})));
  // Of an input that was always zero, 1: zero stays zero.
  const at::Tensor zero = at::scalar_tensor(0.0f);
  const auto of_zeros = build("{type: fp8, group: -1}")->with_range(zero, zero);
  CHECK(at::equal(of_zeros(at::tensor({0.f, 3.f, -500.f})), at::tensor({0.f, 3.f, -448.f})));
}

TEST_CASE("an MX block with an infinite value is NaN, and no other") {
  at::Tensor x = at::ones({1, 64});
  x[0][3] = std::numeric_limits<float>::infinity();
  const at::Tensor out = build("{type: mxfp4}")->fake_quantize(x)[0];
  CHECK(out.slice(0, 0, 32).isnan().all().item<bool>());
  CHECK(at::equal(out.slice(0, 32), at::ones({32})));
}

TEST_CASE("NVFP4 with a scale for each token takes each token's own in a matrix that is rounded in several blocks") {
  at::manual_seed(5);
  const at::Tensor x = at::randn({3, int64_t{1} << 21}) * at::tensor({1.f, 7.f, 100.f}).unsqueeze(1);
  const auto quantizer = build("{type: nvfp4, global_scale: token}");
  const at::Tensor all = quantizer->fake_quantize(x);
  for (int64_t row = 0; row < 3; ++row)
    CHECK(at::equal(all[row], quantizer->fake_quantize(x.slice(0, row, row + 1).contiguous())[0]));
}

TEST_CASE("small floats: bits per weight, and a layer that the blocks do not fit is named") {
  const LinearSite site{"layers.3.mlp.up_proj", 1536, 576};
  CHECK(build("{type: mxfp4}")->bits_per_weight(site) == 4.25);
  CHECK(build("{type: mxfp6, format: e3m2}")->bits_per_weight(site) == 6.25);
  CHECK(build("{type: mxfp8, format: e5m2}")->bits_per_weight(site) == 8.25);
  CHECK(build("{type: nvfp4}")->bits_per_weight(site) == Approx(4.5 + 32.0 / (1536 * 576)));
  CHECK(build("{type: fp8}")->bits_per_weight(site) == Approx(8 + 32.0 / 576));
  CHECK(build("{type: fp8, group: -1}")->bits_per_weight(site) == Approx(8 + 32.0 / (1536 * 576)));
  CHECK(build("{type: fp8, group: 64}")->bits_per_weight(site) == 8.5);
  CHECK(build("{type: fp8, group: -1}")->commutes_with_row_scaling(site) == RowScaling::differs);
  CHECK(build("{type: nvfp4}")->commutes_with_row_scaling(site) == RowScaling::differs);

  const LinearSite odd{"layers.0.mlp.down_proj", 64, 200};
  CHECK(contains(error_text([&] { build("{type: mxfp8}")->check_site(odd); }),
                 "blocks of 32 do not divide the 200 inputs of layers.0.mlp.down_proj"));
  CHECK(contains(error_text([&] { build("{type: nvfp4}")->check_site(odd); }), "blocks of 16 do not divide the 200"));
  CHECK(contains(error_text([&] { build("{type: fp8, group: 64}")->check_site(odd); }),
                 "group 64 does not divide the 200 inputs of layers.0.mlp.down_proj; sizes that do: 2, 4, 5"));
  CHECK(contains(error_text([&] { build("{type: mxfp6, format: e4m3}"); }), "e2m3, e3m2"));
}

}  // namespace qroar
