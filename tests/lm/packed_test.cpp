// Weights as 4-bit codes: what is unpacked is the weight, bit for bit.
#include "checkpoint/packed.h"

#include "quant/rtn.h"
#include "support/catch.h"

namespace qroar {
namespace {

/// The field's reading of the tensors: code times scale, rounded to the scale's dtype.
at::Tensor unpacked(const TensorMap& tensors) {
  const auto numbers = [](const at::Tensor& words_RW) {
    const at::Tensor shift = at::arange(8, at::kLong) * 4;
    return words_RW.to(at::kLong).unsqueeze(2).bitwise_right_shift(shift).bitwise_and(15).flatten(1);
  };
  const at::Tensor shape = tensors.at("weight_shape");
  const int64_t O = shape[0].item<int64_t>(), I = shape[1].item<int64_t>();
  const at::Tensor scale_OG = tensors.at("weight_scale");
  const at::Tensor codes_OGS = numbers(tensors.at("weight_packed")).slice(1, 0, I).view({O, scale_OG.size(1), -1});
  const auto zero = tensors.find("weight_zero_point");
  const at::Tensor zero_OG = zero == tensors.end()
                                 ? at::full_like(scale_OG, 8, at::kLong)
                                 : numbers(zero->second.t().contiguous()).slice(1, 0, O).t().contiguous();
  const at::Tensor k_OGS = codes_OGS - zero_OG.unsqueeze(2);
  return (k_OGS.to(at::kFloat) * scale_OG.to(at::kFloat).unsqueeze(2)).to(scale_OG.scalar_type()).view({O, I});
}

at::Tensor quantized(const at::Tensor& weight, const std::string& yaml) {
  return Rtn(Config::parse(yaml, "test.yaml")).fake_quantize(weight);
}

}  // namespace

TEST_CASE("what is packed comes back bit for bit, for every grid, group and dtype") {
  at::manual_seed(1);
  for (const auto& [dtype, name] :
       {std::pair(at::kBFloat16, "bfloat16"), {at::kHalf, "float16"}, {at::kFloat, "float32"}}) {
    at::Tensor weight = (at::randn({21, 96}, at::kDouble) * 0.03).to(dtype);
    weight[3].zero_();
    weight[4].slice(0, 1).zero_();
    weight[5].abs_();
    weight[6].fill_(0.3);
    for (const int64_t group : {0, 32}) {
      for (const bool symmetric : {true, false}) {
        for (const char* zero : {"included", "awq"}) {
          CAPTURE(name, group, symmetric, zero);
          const at::Tensor rounded =
              quantized(weight, fmt::format("{{bits: 4, group: {}, symmetric: {}, zero: {}, scale_dtype: {}}}", group,
                                            symmetric, zero, name));
          const auto tensors = packed_tensors(rounded, {group, symmetric});
          REQUIRE(tensors);
          CHECK(tensors->at("weight_packed").sizes() == at::IntArrayRef({21, 12}));
          CHECK(tensors->contains("weight_zero_point") == !symmetric);
          CHECK(at::equal(unpacked(*tensors), rounded));
        }
      }
    }
  }
}

TEST_CASE("sixteen neighbouring multiples of a scale are packed, seventeen are not") {
  for (const int64_t count : {16, 17}) {
    const at::Tensor codes = at::arange(17).remainder(count) - 4;  // from below zero to above it
    const auto tensors = packed_tensors((codes * 0.25).to(at::kFloat).view({1, 17}), {0, false});
    CHECK(tensors.has_value() == (count == 16));
  }
}

TEST_CASE("a weight that is on no such grid is not packed") {
  at::manual_seed(2);
  const at::Tensor weight = (at::randn({4, 64}, at::kDouble) * 0.03).to(at::kBFloat16);
  CHECK_FALSE(packed_tensors(weight, {32, true}));
  const at::Tensor five = quantized(weight, "{bits: 5, group: 32, symmetric: true, scale_dtype: bfloat16}");
  CHECK_FALSE(packed_tensors(five, {32, true}));
  const at::Tensor one_sided = quantized(weight, "{bits: 4, group: 32, zero: included, scale_dtype: bfloat16}");
  CHECK_FALSE(packed_tensors(one_sided.abs(), {32, true}));
  const at::Tensor to_seven =
      (at::arange(32) % 16 - 8).view({1, 32}).to(at::kBFloat16) / 64;  // 4 bits have -8 and no 8
  CHECK(packed_tensors(to_seven, {32, true}));
  CHECK_FALSE(packed_tensors(-to_seven, {32, true}));
}

TEST_CASE("scale_dtype is the dtype of every step of the arithmetic") {
  at::manual_seed(3);
  const at::Tensor weight = (at::randn({8, 128}, at::kDouble) * 0.03).to(at::kBFloat16);
  const at::Tensor got =
      quantized(weight, "{bits: 4, group: 0, symmetric: true, zero: included, scale_dtype: bfloat16}");
  // compressed-tensors' steps: the scale, the quotient and the product are each rounded to bfloat16.
  const at::Tensor scale = weight.abs().amax(1, true) / at::full({1}, 7.5, at::kBFloat16);
  const at::Tensor expected = (weight / scale).clamp(-8, 7).round() * scale;
  CHECK(at::equal(got, expected));
  CHECK_FALSE(at::equal(got, quantized(weight, "{bits: 4, group: 0, symmetric: true, zero: included}")));
}

}  // namespace qroar
