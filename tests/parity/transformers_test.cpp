// The float32 model against logits that transformers wrote.  tests/peers/test_logits.py makes the file and calls this
// test with
//   QROAR_MODEL=FOLDER QROAR_LOGITS=FILE lm_tests "[transformers]"
// FILE is a safetensors file: tokens int64 [T], logits float32 [T, V].  Hidden from a plain run, which has no such
// file.
#include <ATen/ATen.h>

#include <cstdlib>

#include "checkpoint/checkpoint.h"
#include "config/registry.h"
#include "model/angles.h"
#include "support/catch.h"

namespace qroar {
namespace {

at::Tensor tensor_of(const SafetensorsFile& file, const std::string& name, at::ScalarType dtype) {
  const TensorView& view = file.tensors().at(name);
  return at::from_blob(const_cast<std::byte*>(view.data), view.shape, at::TensorOptions().dtype(dtype)).clone();
}

/// The model's logits for all rows; [T, V] is small here.
at::Tensor all_logits(const Checkpoint& checkpoint, at::ScalarType dtype, const at::Tensor& tokens) {
  const Llama model = checkpoint.build(dtype, at::kCPU);
  const LlamaConfig& config = model.config;
  const Config plain = Config::parse("{type: none}", "test");
  const RopeTable table = Registry<RopeScheme>::instance().build(plain)->table(
      {config.head_dim, config.rope_theta, config.trained_length, tokens.size(0), ""}, tokens.size(0));
  return logits(model, forward(model, tokens, rope_angles(table, tokens.size(0), dtype, at::kCPU, false)));
}

double mean_nll(const at::Tensor& logits_TV, const at::Tensor& tokens_T) {
  const int64_t last = tokens_T.size(0) - 1;
  return ops::token_nll(logits_TV.slice(0, 0, last).contiguous(), tokens_T.slice(0, 1)).mean().item<double>();
}

}  // namespace

TEST_CASE("float32 logits lie within 2e-4 of transformers' and the mean loss within 1e-5", "[.transformers]") {
  const char *folder = std::getenv("QROAR_MODEL"), *path = std::getenv("QROAR_LOGITS");
  REQUIRE(folder != nullptr);
  REQUIRE(path != nullptr);
  const SafetensorsFile file(path);
  const at::Tensor tokens = tensor_of(file, "tokens", at::kLong), expected = tensor_of(file, "logits", at::kFloat);
  REQUIRE(tokens.size(0) >= 512);
  const at::Tensor found = all_logits(Checkpoint(folder), at::kFloat, tokens);
  REQUIRE(found.sizes() == expected.sizes());
  const double largest = (found - expected).abs().max().item<double>();
  const double nll = std::abs(mean_nll(found, tokens) - mean_nll(expected, tokens));
  std::printf("largest logit difference %.3g, mean loss difference %.3g\n", largest, nll);
  CHECK(largest < 2e-4);
  CHECK(nll < 1e-5);
}

TEST_CASE("the float32 model agrees with the float64 model, and bfloat16 stays near both") {
  const Checkpoint checkpoint(std::string(QROAR_SOURCE_DIR) + "/configs/models/tiny-books");
  at::manual_seed(11);
  const at::Tensor tokens = at::randint(4096, {300}, at::kLong);
  const at::Tensor exact = all_logits(checkpoint, at::kDouble, tokens);
  CHECK((all_logits(checkpoint, at::kFloat, tokens) - exact).abs().max().item<double>() < 1e-4);
  // bfloat16 keeps 8 bits: logits of magnitude 16 move by up to 1/16 in the last cast alone, and five layers add
  // theirs.
  const at::Tensor rounded = all_logits(checkpoint, at::kBFloat16, tokens).to(at::kDouble);
  CHECK((rounded - exact).abs().mean().item<double>() < 0.05);
  CHECK(std::abs(mean_nll(rounded, tokens) - mean_nll(exact, tokens)) < 0.02);
}

}  // namespace qroar
