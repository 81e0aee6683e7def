// What every registered quantizer must do, whichever it is.
#include <ATen/ATen.h>

#include "quant/quantizer.h"
#include "support/catch.h"

namespace qroar {
namespace {

struct Case {
  std::string name;
  std::unique_ptr<Quantizer> quantizer;
};

std::vector<Case> all_quantizers() {
  std::vector<Case> cases;
  for (const auto& [name, entry] : Registry<Quantizer>::instance().entries()) {
    const Config config = Config::parse(entry.example, name);
    cases.push_back({name, Registry<Quantizer>::instance().build(config)});
    check_all_read(config);
  }
  return cases;
}

at::Tensor random_weight(at::ScalarType dtype) {
  at::manual_seed(7);
  return (at::randn({96, 256}) * 0.05).to(dtype);
}

bool equal_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && at::equal(a, b);
}

}  // namespace

TEST_CASE("all quantizers are registered and build from their examples") { REQUIRE(all_quantizers().size() == 2); }

TEST_CASE("a quantizer keeps shape and dtype, leaves its input alone and gives the same bits twice") {
  for (const auto& [name, quantizer] : all_quantizers()) {
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      INFO(name << " " << at::toString(dtype));
      const at::Tensor weight = random_weight(dtype), before = weight.clone();
      const at::Tensor quantized = quantizer->fake_quantize(weight);
      REQUIRE(quantized.sizes() == weight.sizes());
      REQUIRE(quantized.scalar_type() == dtype);
      REQUIRE(equal_bits(weight, before));
      REQUIRE(equal_bits(quantizer->fake_quantize(weight), quantized));
    }
  }
}

TEST_CASE("a quantizer keeps zeros, and a weight of zeros stays zero") {
  for (const auto& [name, quantizer] : all_quantizers()) {
    INFO(name);
    at::Tensor weight = random_weight(at::kFloat);
    weight.select(1, 3).zero_();
    REQUIRE(quantizer->fake_quantize(weight).select(1, 3).count_nonzero().item<int64_t>() == 0);
    REQUIRE(quantizer->fake_quantize(at::zeros({96, 256})).count_nonzero().item<int64_t>() == 0);
  }
}

TEST_CASE(
    "a quantizer's error stays below the error of dropping the weight, and more than two bits per weight are stored") {
  for (const auto& [name, quantizer] : all_quantizers()) {
    INFO(name);
    const at::Tensor weight = random_weight(at::kFloat);
    const at::Tensor error = quantizer->fake_quantize(weight) - weight;
    REQUIRE(error.norm().item<double>() < 0.2 * weight.norm().item<double>());
    const double bits = quantizer->bits_per_weight({"layers.0.mlp.up_proj", 96, 256});
    REQUIRE(bits >= 2);
    REQUIRE(bits <= 16);
  }
}

TEST_CASE(
    "scaling rows by powers of two commutes exactly with the quantizers that claim it, and only nearly by other "
    "factors") {
  for (const auto& [name, quantizer] : all_quantizers()) {
    INFO(name);
    const at::Tensor weight = random_weight(at::kFloat);
    const at::Tensor powers = at::pow(2.0, at::randint(-3, 4, {96, 1})).to(at::kFloat);
    const bool exact = at::equal(quantizer->fake_quantize(weight * powers), quantizer->fake_quantize(weight) * powers);
    if (quantizer->commutes_with_row_scaling()) REQUIRE(exact);
    if (quantizer->commutes_with_row_scaling()) {
      const at::Tensor other = at::rand({96, 1}) + 0.5;
      const at::Tensor scaled = quantizer->fake_quantize(weight * other),
                       reference = quantizer->fake_quantize(weight) * other;
      // A weight within rounding of a decision threshold may take the neighbouring code; all others agree to float32
      // rounding.
      const double agreeing = at::isclose(scaled, reference, 1e-5, 1e-9).to(at::kDouble).mean().item<double>();
      REQUIRE(agreeing > 0.999);
    }
  }
}

}  // namespace qroar
