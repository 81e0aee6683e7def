// Fake quantization of what goes into linear layers: a scale a token and a scale a tensor, by hand and in the MLP,
// which is computed in blocks of rows.
#include "model/llama.h"
#include "ops/ops.h"
#include "quant/plan.h"
#include "support/catch.h"
#include "support/llama.h"

namespace qroar {
namespace {

Llama with_rules(const Llama& model, const std::string& rules) {
  return apply(QuantPlan(Config::parse("quant: " + rules, "q.yaml"), model.config), model, {});
}

const std::string kPerToken = "[{match: 'layers.*', input: {type: rtn, bits: 4, symmetric: true, group: 0}}]";
const std::string kPerTensor = "[{match: 'layers.*', input: {type: rtn, bits: 4, symmetric: true, group: -1}}]";

/// A first decoder layer whose MLP sees T tokens in float64, so that sums over blocks round by less than any decision
/// of the quantizer; the last token is ten times the others.
struct Mlp {
  Llama full = random_llama(small_llama_config(), at::kDouble, 3);
  at::Tensor x_TD = at::randn({4100, 64}, at::kDouble);
  Mlp() { x_TD[4099] *= 10; }
};

}  // namespace

TEST_CASE("the input of a linear layer is quantized by hand: a scale a token, and one for all tokens") {
  LlamaConfig config = small_llama_config();
  config.num_hidden_layers = 0;
  config.vocab_size = config.hidden_size = 2;
  Llama full = random_llama(config, at::kFloat, 1);
  full.lm_head.weight_OI = at::tensor({1.f, 2.f, 0.f, 1.f}).view({2, 2});
  const at::Tensor x_TD = at::tensor({3.f, 0.6f, -6.f, 1.5f}).view({2, 2});
  const auto out = [&](int group) {
    return logits(
        with_rules(full, fmt::format("[{{match: lm_head, input: {{type: rtn, bits: 3, symmetric: true, group: "
                                     "{}}}}}]",
                                     group)),
        x_TD);
  };
  // Scales 3 / 3 and 6 / 3: (3, 1) and (-6, 2), times the weight's rows (1, 2) and (0, 1).
  CHECK(at::equal(out(0), at::tensor({5.f, 1.f, -2.f, 2.f}).view({2, 2})));
  // Scale 2 for both: 3 is a tie between 1 and 2 steps and goes to 2; (4, 0) and (-6, 2).
  CHECK(at::equal(out(-1), at::tensor({4.f, 0.f, -2.f, 2.f}).view({2, 2})));
  CHECK(at::equal(full.lm_head.input(x_TD), x_TD));
}

TEST_CASE("a scale a token gives the MLP the same rows in blocks as each by itself") {
  const Mlp mlp_of;
  const DecoderLayer layer = with_rules(mlp_of.full, kPerToken).layers[0];
  REQUIRE_FALSE(layer.down_proj.input.couples_tokens);
  const at::Tensor all_TD = mlp(layer, mlp_of.x_TD);
  for (const int64_t t : {0, 2047, 2048, 4095, 4096, 4099}) {
    CHECK((mlp(layer, mlp_of.x_TD.narrow(0, t, 1)) - all_TD.narrow(0, t, 1)).abs().max().item<double>() < 1e-11);
  }
  CHECK((all_TD - mlp(mlp_of.full.layers[0], mlp_of.x_TD)).abs().max().item<double>() > 1e-3);
}

TEST_CASE("a scale a tensor is one over all tokens in the MLP, not one a block") {
  const Mlp mlp_of;
  const DecoderLayer layer = with_rules(mlp_of.full, kPerTensor).layers[0];
  REQUIRE(layer.down_proj.input.couples_tokens);
  const auto quantized = [](const at::Tensor& x) {
    const at::Tensor scale = x.abs().max() / 7;
    return (x.to(at::kFloat) / scale.to(at::kFloat)).round().clamp(-8, 7).to(at::kDouble) * scale;
  };
  const at::Tensor x_TD = quantized(mlp_of.x_TD);
  const at::Tensor gated_TF =
      ops::silu_mul(at::linear(x_TD, layer.gate_proj.weight_OI), at::linear(x_TD, layer.up_proj.weight_OI));
  const at::Tensor want_TD = at::linear(quantized(gated_TF), layer.down_proj.weight_OI);
  // The quantizer works in float32: its values are off by 2^-24 of themselves.
  CHECK((mlp(layer, mlp_of.x_TD) - want_TD).abs().max().item<double>() < 1e-5 * want_TD.abs().max().item<double>());
  // The last token sets the scale of the first ones, two blocks before it.
  const at::Tensor without_TD = mlp(layer, mlp_of.x_TD.narrow(0, 0, 2048));
  CHECK((without_TD - want_TD.narrow(0, 0, 2048)).abs().max().item<double>() > 1e-2);
}

}  // namespace qroar
