// What every registered quantizer must do, whichever it is.
#include <ATen/ATen.h>

#include "quant/quantizer.h"
#include "support/catch.h"
#include "support/errors.h"

namespace qroar {
namespace {

struct Case {
  std::string name;
  std::unique_ptr<Quantizer> quantizer;
};

Case built(const std::string& yaml) {
  const Config config = Config::parse(yaml, "q.yaml");
  Case made{yaml, Registry<Quantizer>::instance().build(config)};
  check_all_read(config);
  return made;
}

std::vector<Case> all_quantizers() {
  std::vector<Case> cases;
  for (const auto& [name, entry] : Registry<Quantizer>::instance().entries()) cases.push_back(built(entry.example));
  return cases;
}

/// Also the forms in which rows come apart, or together, by an option.
std::vector<Case> all_forms() {
  std::vector<Case> cases = all_quantizers();
  for (const char* yaml :
       {"{type: rtn, group: 0}", "{type: rtn, group: -1}", "{type: fp8, group: 32}", "{type: fp8, group: -1}",
        "{type: nf4, block: 32}", "{type: fp4, block: 128}", "{type: af4, double_quant: true}",
        "{type: nvfp4, global_scale: token}", "{type: hqq, axis: 0, group: 0}", "{type: hqq, axis: 1, group: 0}"}) {
    cases.push_back(built(yaml));
  }
  return cases;
}

const LinearSite kSite{"layers.0.mlp.up_proj", 96, 256};  ///< of random_weight

at::Tensor random_weight(at::ScalarType dtype) {
  at::manual_seed(7);
  return (at::randn({96, 256}) * 0.05).to(dtype);
}

bool equal_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && at::equal(a, b);
}

}  // namespace

TEST_CASE("quantizers are registered and build from their examples") { REQUIRE(!all_quantizers().empty()); }

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

TEST_CASE("a quantizer that claims it keeps zeros, and with every one a weight of zeros stays zero") {
  for (const auto& [name, quantizer] : all_quantizers()) {
    INFO(name);
    if (quantizer->keeps_zero()) {
      at::Tensor weight = random_weight(at::kFloat);
      weight.select(1, 3).zero_();
      REQUIRE(quantizer->fake_quantize(weight).select(1, 3).count_nonzero().item<int64_t>() == 0);
    }
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
    const double bits = quantizer->bits_per_weight(kSite);
    REQUIRE(bits >= 2);
    REQUIRE(bits <= 16);
  }
}

TEST_CASE(
    "scaling rows by powers of two commutes exactly with the quantizers that claim it, and only nearly by other "
    "factors") {
  for (const auto& [name, quantizer] : all_forms()) {
    INFO(name);
    const at::Tensor weight = random_weight(at::kFloat);
    const at::Tensor powers = at::pow(2.0, at::randint(-3, 4, {96, 1})).to(at::kFloat);
    const bool exact = at::equal(quantizer->fake_quantize(weight * powers), quantizer->fake_quantize(weight) * powers);
    const RowScaling claim = quantizer->commutes_with_row_scaling(kSite);
    if (claim != RowScaling::differs) REQUIRE(exact);
    if (claim == RowScaling::any) {
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

TEST_CASE("rows come out the same alone and before other rows where nothing is said to couple them, and only there") {
  int independent = 0, coupled = 0;
  for (const auto& [name, quantizer] : all_forms()) {
    bool said = false, seen = false;  // that rows are coupled, at one of the sizes
    for (const int64_t columns : {64, 96, 256}) {
      const LinearSite site{"layers.0.mlp.up_proj", 96, columns};
      if (contains(error_text([&, q = quantizer.get()] { q->check_site(site); }), "does not divide")) continue;
      const auto coupling = quantizer->couples_rows(site);
      INFO(name << ", " << columns << " columns: " << coupling.value_or("independent"));
      const at::Tensor weight = random_weight(at::kBFloat16).slice(1, 0, columns).contiguous();
      const at::Tensor quantized = quantizer->fake_quantize(weight);
      at::Tensor later = weight.clone();
      later[95] *= 1e12;  // so large that hqq, which stops by the mean error, stops early
      const bool same = equal_bits(quantizer->fake_quantize(later).slice(0, 0, 95), quantized.slice(0, 0, 95));
      bool alone = true;  // a row's place does not matter either
      for (int64_t row = 0; row < 96; row += 19) {
        const at::Tensor own = quantizer->fake_quantize(weight.slice(0, row, row + 1));
        alone = alone && equal_bits(own, quantized.slice(0, row, row + 1));
      }
      said = said || coupling;
      seen = seen || !same || !alone;
      if (coupling) {
        REQUIRE(contains(*coupling, "; "));  // what to write instead
        continue;
      }
      REQUIRE(same);
      REQUIRE(alone);
    }
    INFO(name);
    REQUIRE(said == seen);
    (said ? coupled : independent) += 1;
  }
  REQUIRE(independent >= 13);
  REQUIRE(coupled >= 8);
}

TEST_CASE("quantizing a quantized weight changes nothing where that is claimed") {
  for (const auto& [name, quantizer] : all_quantizers()) {
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      INFO(name << " " << at::toString(dtype));
      if (!quantizer->idempotent()) continue;
      const at::Tensor quantized = quantizer->fake_quantize(random_weight(dtype));
      REQUIRE(equal_bits(quantizer->fake_quantize(quantized), quantized));
    }
  }
}

TEST_CASE("a NaN weight stays visible") {
  for (const auto& [name, quantizer] : all_quantizers()) {
    INFO(name);
    at::Tensor weight = random_weight(at::kFloat);
    weight[5][7] = std::nan("");
    REQUIRE(quantizer->fake_quantize(weight)[5][7].isnan().item<bool>());
  }
}

}  // namespace qroar
