// Fake quantization of what goes into linear layers: by hand, in the MLP, which is computed in blocks of rows, and that
// no token sees a later one.
#include <set>

#include "model/llama.h"
#include "ops/ops.h"
#include "quant/plan.h"
#include "support/catch.h"
#include "support/decode.h"
#include "support/errors.h"
#include "support/llama.h"

namespace qroar {
namespace {

Llama with_rules(const Llama& model, const std::string& rules) {
  return apply(QuantPlan(Config::parse("quant: " + rules, "q.yaml"), model.config), model, {});
}

const std::string kPerToken = "[{match: 'layers.*', input: {type: rtn, bits: 4, symmetric: true, group: 0}}]";

/// A first decoder layer whose MLP sees T tokens in float64, so that sums over blocks round by less than any decision
/// of the quantizer; the last token is ten times the others.
struct Mlp {
  Llama full = random_llama(small_llama_config(), at::kDouble, 3);
  at::Tensor x_TD = at::randn({4100, 64}, at::kDouble);
  Mlp() { x_TD[4099] *= 10; }
};

}  // namespace

TEST_CASE("the input of a linear layer is quantized by hand, a scale a token") {
  LlamaConfig config = small_llama_config();
  config.num_hidden_layers = 0;
  config.vocab_size = config.hidden_size = 2;
  Llama full = random_llama(config, at::kFloat, 1);
  full.lm_head.weight_OI = at::tensor({1.f, 2.f, 0.f, 1.f}).view({2, 2});
  const at::Tensor x_TD = at::tensor({3.f, 0.6f, -6.f, 1.5f}).view({2, 2});
  const Llama quantized =
      with_rules(full, "[{match: lm_head, input: {type: rtn, bits: 3, symmetric: true, group: 0}}]");
  // Scales 3 / 3 and 6 / 3: (3, 1) and (-6, 2), times the weight's rows (1, 2) and (0, 1).
  CHECK(at::equal(logits(quantized, x_TD), at::tensor({5.f, 1.f, -2.f, 2.f}).view({2, 2})));
  CHECK(at::equal(full.lm_head.input(x_TD), x_TD));
}

TEST_CASE("a scale a token gives the MLP the same rows in blocks as each by itself") {
  const Mlp mlp_of;
  const DecoderLayer layer = with_rules(mlp_of.full, kPerToken).layers[0];
  const at::Tensor all_TD = mlp(layer, mlp_of.x_TD);
  for (const int64_t t : {0, 2047, 2048, 4095, 4096, 4099}) {
    CHECK((mlp(layer, mlp_of.x_TD.narrow(0, t, 1)) - all_TD.narrow(0, t, 1)).abs().max().item<double>() < 1e-11);
  }
  CHECK((all_TD - mlp(mlp_of.full.layers[0], mlp_of.x_TD)).abs().max().item<double>() > 1e-3);
}

bool is_calibrated(const std::string& name, const std::string& example) {
  const std::shared_ptr<const Quantizer> quantizer =
      Registry<Quantizer>::instance().build(Config::parse(example, name));
  return std::dynamic_pointer_cast<const CalibratedQuantizer>(quantizer) != nullptr;
}

/// Forms of quantizers as an input, and whether layers.* of the small model (64 and 96 inputs) takes it, which is not
/// known of the examples of quantizers that are not among them.
std::vector<std::pair<std::string, std::optional<bool>>> input_forms() {
  std::vector<std::pair<std::string, std::optional<bool>>> forms{
      {"{type: rtn, bits: 4, group: 0}", true},
      {"{type: rtn, bits: 4, group: 32}", true},
      {"{type: rtn, bits: 4, group: -1}", false},
      {"{type: fp8, group: 0}", true},
      {"{type: fp8, group: -1}", false},
      {"{type: nf4, block: 32}", true},
      {"{type: nf4, block: 64}", false},  // 96 inputs
      {"{type: fp4, block: 32}", true},
      {"{type: fp4, block: 128}", false},
      {"{type: nf4, block: 32, double_quant: true}", false},
      {"{type: af4}", false},
      {"{type: mxfp4}", true},
      {"{type: mxfp6}", true},
      {"{type: mxfp8}", true},
      {"{type: nvfp4}", false},
      {"{type: nvfp4, global_scale: token}", true},
      {"{type: hqq, group: 32, axis: 1}", false},
      {"{type: hqq, group: 32, axis: 0}", false},
      {"{type: none}", true},
  };
  std::set<std::string> types;
  for (const auto& [form, taken] : forms) types.insert(Config::parse(form, "q.yaml").get<std::string>("type"));
  for (const auto& [name, entry] : Registry<Quantizer>::instance().entries()) {
    // Inputs do not take those that calibrate.
    if (!types.contains(name) && !is_calibrated(name, entry.example)) forms.emplace_back(entry.example, std::nullopt);
  }
  return forms;
}

TEST_CASE("an input that is taken lets no token see a later one, and one that would is refused") {
  const LlamaConfig config = small_llama_config();
  const Llama full = random_llama(config, at::kDouble, 3);
  const Scheme scheme{make_scheme("{type: none}"), config};
  const at::Tensor tokens_T = random_tokens(20);
  for (const auto& [form, expected] : input_forms()) {
    const std::string rules = "[{match: 'layers.*', input: " + form + "}]";
    const std::string error = error_text([&] { with_rules(full, rules); });
    const bool is_taken = error == "(no error)";
    INFO(form << ": " << error);
    REQUIRE(is_taken == expected.value_or(is_taken));
    if (!is_taken) {
      CHECK(error.starts_with("q.yaml:1:"));
      CHECK(contains(error, "quant[0].input"));
      // Or no layer of these shapes takes it, as a weight neither.
      const std::string as_weight =
          error_text([&] { with_rules(full, "[{match: 'layers.*', weight: " + form + "}]"); });
      CHECK(contains(error, " see later ones: ") == (as_weight == "(no error)"));
      continue;
    }
    const Llama model = with_rules(full, rules);
    const auto logits_of = [&](const at::Tensor& of_T) {
      return logits(model, forward(model, of_T, scheme.angles(20)));
    };
    const at::Tensor before = logits_of(tokens_T);
    CHECK(at::equal(before, logits(full, forward(full, tokens_T, scheme.angles(20)))) == (form == "{type: none}"));
    for (const int64_t t : {1, 10, 19}) {
      at::Tensor changed_T = tokens_T.clone();
      changed_T[t] = (tokens_T[t] + 1) % config.vocab_size;
      CHECK(at::equal(logits_of(changed_T).slice(0, 0, t), before.slice(0, 0, t)));
    }
  }
}

TEST_CASE("the refusal of a coupling input names the first layer that it is for, and what to write instead") {
  const LlamaConfig config = small_llama_config();
  const auto refusal = [&](const std::string& rules) {
    return error_text([&] { QuantPlan(Config::parse("quant: " + rules, "q.yaml"), config); });
  };
  CHECK(
      refusal("[{match: 'layers.*', input: {type: nf4, block: 64}}]") ==
      "q.yaml:1:36: quant[0].input: lets a token of layers.0.mlp.down_proj see later ones: blocks of 64 cross rows of "
      "96; take another block or type, such as rtn with group: 0");
  CHECK(refusal("[{match: 'layers.*.self_attn.*', input: {type: nf4, block: 64}}]") == "(no error)");
  CHECK(refusal("[{match: 'layers.*', input: {type: rtn, group: 0}}, {match: '*.up_proj', input: {type: fp8, group: "
                "-1}}]") ==
        "q.yaml:1:88: quant[1].input: lets a token of layers.0.mlp.up_proj see later ones: group: -1 is one scale for "
        "all rows; write group: 0 (one a row) or finer, or static: true (one range, which calibration texts give)");
  // Calibration does not look at lm_head.
  CHECK(
      refusal("[{match: lm_head, input: {type: nvfp4}}]") ==
      "q.yaml:1:33: quant[0].input: lets a token of lm_head see later ones: global_scale: tensor is one for all rows; "
      "write global_scale: token (one a row)");
  // Where a later rule decides, an earlier one does no harm; a static range is seen beforehand.
  CHECK(refusal("[{match: '*.{up,down}_proj', input: {type: nf4, block: 64}}, {match: '*.down_proj', input: {type: "
                "mxfp4}}]") == "(no error)");
  CHECK(refusal("[{match: 'layers.*', input: {type: rtn, group: -1, static: true}}]") == "(no error)");
  CHECK(refusal("[{match: 'layers.*', weight: {type: nvfp4}}, {match: lm_head, weight: {type: rtn, group: -1}}]") ==
        "(no error)");
}

}  // namespace qroar
