// HQQ by hand for one step, and against numbers of the package hqq 0.2.8.post1 (float32 on a CPU) for its default
// solver.
#include <ATen/ATen.h>

#include "config/config.h"
#include "quant/quantizer.h"
#include "support/catch.h"
#include "support/errors.h"

namespace qroar {
namespace {

std::unique_ptr<Quantizer> build(const std::string& yaml) {
  return Registry<Quantizer>::instance().build(Config::parse(yaml, "q.yaml"));
}

/// Largest difference of the quantized weight from the expectation.
double difference(const std::string& yaml, const at::Tensor& weight, const std::vector<float>& expected) {
  return (build(yaml)->fake_quantize(weight) - at::tensor(expected).view_as(weight)).abs().max().item<double>();
}

/// Coarse enough for 2 bits that the shrunken errors are not all zero.
at::Tensor sample() {
  return at::tensor({-3.0f, -1.0f,  0.5f, 2.25f,  4.0f,  -0.75f, 1.5f,   0.25f, 5.0f,  -2.0f, -4.5f,
                     1.0f,  0.125f, 3.0f, -1.25f, 2.0f,  0.5f,   6.0f,   -1.0f, -2.5f, 3.5f,  -0.25f,
                     1.0f,  -5.0f,  2.0f, -1.5f,  4.75f, 0.75f,  -3.25f, 1.0f,  0.0f,  -2.0f})
      .view({4, 8});
}

// hqq prints nine digits; our operations follow its order, and other CPUs may differ in the last bit of a mean.
constexpr double kTolerance = 2e-6;

}  // namespace

TEST_CASE("one step of HQQ by hand: the zero moves by the mean of the error that is left after shrinking") {
  // 1 bit: inverse scale 1 / 5, zero 0, codes 0 0 0 1 (2 / 5 rounds to 0), errors 0 1 2 0, shrunken by 1 / beta = 0.1
  // to 0 0.9 1.9 0 (p = 1).  New zero = mean(q - (w - e) / 5) = mean(0, -0.02, -0.02, 0) = -0.01; codes again 0 0 0 1.
  const at::Tensor weight = at::tensor({0.0f, 1.0f, 2.0f, 5.0f}).view({1, 4});
  CHECK(difference("{type: hqq, bits: 1, group: 4, axis: 1, iterations: 1, p: 1, beta: 10}", weight,
                   {0.05f, 0.05f, 0.05f, 5.05f}) < kTolerance);
  // In float16 the zero is stored as -1311 / 2^17, the scale 5 as it is.
  constexpr float zero = 5 * 1311 / 131072.0f;
  CHECK(difference("{type: hqq, bits: 1, group: 4, axis: 1, iterations: 1, p: 1, beta: 10, scale_dtype: float16}",
                   weight, {zero, zero, zero, 5 + zero}) < kTolerance);
}

TEST_CASE("HQQ gives the numbers of the package hqq, whose solver leaves beta as it is") {
  CHECK(difference(
            "{type: hqq, bits: 2, group: 8, axis: 1, kappa: 1}", sample(),
            {-3.050593138f, -0.717259943f, 1.616073370f,  1.616073370f,  3.949406624f,  -0.717259943f, 1.616073370f,
             -0.717259943f, 5.040982246f,  -1.292351127f, -4.459017754f, 1.874315619f,  -1.292351127f, 1.874315619f,
             -1.292351127f, 1.874315619f,  -1.298794031f, 6.034538746f,  -1.298794031f, -1.298794031f, 2.367872477f,
             -1.298794031f, 2.367872477f,  -4.965460777f, 2.049547672f,  -0.617119193f, 4.716214180f,  2.049547672f,
             -3.283785820f, 2.049547672f,  -0.617119193f, -3.283785820f}) < kTolerance);
  CHECK(difference(
            "{type: hqq, bits: 2, group: 4, axis: 0, kappa: 1}", sample(),
            {-3.012876034f, -1.914786220f, 1.679882407f,  2.321447134f,  3.991669655f,  -0.655189395f, 1.605098248f,
             -0.245193630f, 4.987124443f,  -1.914786220f, -4.486783981f, 0.738113761f,  -0.841663897f, 3.094810247f,
             -1.144901633f, 2.088139534f,  -0.346209228f, 6.085214138f,  -1.403450847f, -2.428552866f, 3.991669655f,
             -0.655189395f, 0.688431621f,  -4.911859989f, 2.320457458f,  -1.914786220f, 4.763215542f,  0.738113761f,
             -3.258330584f, 0.594810486f,  -0.228234977f, -2.578526974f}) < kTolerance);
}

TEST_CASE("beta grows by kappa in each iteration, and so shrinks later errors less") {
  const at::Tensor w = sample(), scale = 3 / (w.amax(1, true) - w.amin(1, true));
  at::Tensor zero = -w.amin(1, true) * scale;
  const auto codes = [&] { return at::round(w * scale + zero).clamp(0, 3); };
  for (const double beta : {10.0, 15.0}) {
    const at::Tensor q = codes(), error = w - (q - zero) / scale, size = error.abs();
    const at::Tensor kept = (size - size.pow(-0.3) / beta).clamp_min(0) * error.sign();
    zero = (q - (w - kept) * scale).mean(1, true);
  }
  const at::Tensor expected = (codes() - zero) / scale;
  const at::Tensor got =
      build("{type: hqq, bits: 2, group: 8, axis: 1, iterations: 2, kappa: 1.5}")->fake_quantize(sample());
  CHECK((got - expected).abs().max().item<double>() < kTolerance);
}

TEST_CASE("HQQ lowers the p-norm of the error of its starting grid") {
  at::manual_seed(8);
  const at::Tensor weight = at::randn({64, 256}) / at::rand({64, 256});
  const auto error = [&](const std::string& yaml) {
    return (build(yaml)->fake_quantize(weight) - weight).abs().pow(0.7).mean().item<double>();
  };
  for (const char* axis : {"0", "1"}) {
    const std::string grid = fmt::format("bits: 4, group: 64, axis: {}", axis);
    // A beta so large that nothing is subtracted makes the first update an identity.
    const double start = error("{type: hqq, iterations: 1, beta: 1e6, " + grid + "}");
    CHECK(error("{type: hqq, " + grid + "}") < 0.98 * start);
  }
}

TEST_CASE("HQQ's groups: neighbouring inputs with axis 1, every (rows / group)-th row of a column with axis 0") {
  at::manual_seed(9);
  const at::Tensor weight = at::randn({4, 8});
  // One step, since the stop looks at the whole weight.
  const auto quantized = [](const at::Tensor& w, const std::string& layout) {
    return build("{type: hqq, bits: 3, iterations: 1, " + layout + "}")->fake_quantize(w.contiguous());
  };
  const at::Tensor inputs = quantized(weight, "group: 4, axis: 1");
  CHECK(at::equal(inputs.slice(1, 0, 4), quantized(weight.slice(1, 0, 4), "group: 4, axis: 1")));
  CHECK(at::equal(quantized(weight, "group: 0, axis: 1"), quantized(weight, "group: 8, axis: 1")));
  const at::Tensor outputs = quantized(weight, "group: 2, axis: 0");
  const at::Tensor rows_0_2 = at::stack({weight[0], weight[2]});
  CHECK(at::equal(at::stack({outputs[0], outputs[2]}), quantized(rows_0_2, "group: 2, axis: 0")));
  CHECK(at::equal(quantized(weight, "group: 0, axis: 0"), quantized(weight, "group: 4, axis: 0")));
}

TEST_CASE("HQQ makes a group of a tiny range constant, as hqq does, and keeps its scale within 2e4") {
  // Scale 1, codes 0 0, zero -1e-5: errors 0 and 5e-5, shrunken by 1e-6 (p = 1); new zero = -mean(1e-5, 6e-5 - 4.9e-5).
  const at::Tensor tiny = at::tensor({1e-5f, 6e-5f}).view({1, 2});
  CHECK(difference("{type: hqq, group: 2, axis: 1, iterations: 1, beta: 1e6, p: 1}", tiny, {1.05e-5f, 1.05e-5f}) <
        1e-9);
  // Range 2e-4: 15 / 2e-4 = 75000, capped to 20000: the step is 5e-5, and so all lies on the grid.
  const at::Tensor capped = at::tensor({0.0f, 5e-5f, 2e-4f}).view({1, 3});
  CHECK(difference("{type: hqq, group: 3, axis: 1, iterations: 1, beta: 1e6}", capped, {0, 5e-5f, 2e-4f}) < 1e-9);
}

TEST_CASE("HQQ: bits per weight, and a group that does not divide names the axis") {
  const LinearSite site{"layers.1.self_attn.k_proj", 200, 576};
  CHECK(build("{type: hqq}")->bits_per_weight(site) == 4.5);
  CHECK(build("{type: hqq, bits: 3, group: 0, axis: 1}")->bits_per_weight(site) == Approx(3 + 32.0 / 576));
  CHECK(build("{type: hqq, bits: 3, group: 0, axis: 0}")->bits_per_weight(site) == Approx(3 + 32.0 / 200));
  CHECK(contains(error_text([&] { build("{type: hqq, group: 64, axis: 0}")->check_site(site); }),
                 "group 64 does not divide the 200 outputs of layers.1.self_attn.k_proj (axis 0)"));
  CHECK(contains(error_text([&] { build("{type: hqq, group: 128, axis: 1}")->check_site(site); }),
                 "group 128 does not divide the 576 inputs of layers.1.self_attn.k_proj"));
  CHECK(contains(error_text([&] { build("{type: hqq, axis: 2}"); }), "axis"));
}

}  // namespace qroar
