// Draws compute the same logits with other rounding errors of the same size.
#include "quant/rounding.h"

#include <set>

#include "checkpoint/checkpoint.h"
#include "eval/gradient.h"
#include "rescale/band_scales.h"
#include "support/logits.h"
#include "support/rounding_errors.h"

namespace qroar {
namespace {

Llama redrawn(const Llama& full, uint64_t draw) {
  Llama model = full;
  Rounding rounding;
  rounding.draw = draw;
  redraw(rounding, model);
  return model;
}

const std::filesystem::path kTinyBooks = QROAR_SOURCE_DIR "/configs/models/tiny-books";

Llama tiny_books(at::ScalarType dtype) { return Checkpoint(kTinyBooks).build(dtype, at::kCPU); }

}  // namespace

TEST_CASE(
    "float64 logits are unchanged in every draw, whatever the heads, biases and head of the model and the scheme") {
  each_small_model({4, 2, 1}, [](const Llama& full, const char* scheme, const at::Tensor& expected) {
    for (const uint64_t draw : {1, 2, 7}) {
      CAPTURE(draw);
      // As for rotations: logits are of the order of 1 to 10, two layers lose a few of 53 bits.
      CHECK(largest_difference(all_logits(redrawn(full, draw), scheme), expected) < 1e-10);
    }
  });
}

TEST_CASE("norm weights of any sign and size, zeros among them, leave the logits as they are") {
  Llama full = random_llama(small_llama_config(), at::kDouble, 4);
  full.layers[0].input_norm_D.slice(0, 0, 20).mul_(1e-3);
  full.layers[1].post_attention_norm_D.slice(0, 10, 30).neg_();
  full.norm_D.slice(0, 0, 2).zero_();
  const at::Tensor expected = all_logits(full, "{type: none}");
  for (const uint64_t draw : {1, 2, 3})
    CHECK(largest_difference(all_logits(redrawn(full, draw), "{type: none}"), expected) < 1e-10);
}

TEST_CASE("a draw turns pairs of channels whose norms are alike by 0.3 radians, either way") {
  Llama unit = random_llama(small_llama_config(), at::kDouble, 4);
  at::manual_seed(3);
  const at::Tensor norm_D = at::pow(8.0, at::rand({64}, at::kDouble));
  for (DecoderLayer& layer : unit.layers) layer.input_norm_D = layer.post_attention_norm_D = norm_D.clone();
  unit.norm_D = norm_D.clone();
  unit.embed_tokens_VD = at::eye(64, at::kDouble);
  int64_t turned = 0;
  for (const uint64_t draw : {1, 2, 3}) {
    const at::Tensor map_DD = redrawn(unit, draw).embed_tokens_VD;  // a column is a new channel
    for (int64_t channel = 0; channel < 64; ++channel) {
      const at::Tensor from = map_DD.select(1, channel).nonzero().flatten(), parts = map_DD.select(1, channel).abs();
      if (from.numel() == 1) {
        CHECK(parts.max().item<double>() == Approx(1));
        continue;
      }
      ++turned;
      REQUIRE(from.numel() == 2);
      CHECK(parts.max().item<double>() == Approx(std::cos(0.3)));
      CHECK(parts.sum().item<double>() == Approx(std::cos(0.3) + std::sin(0.3)));
      const at::Tensor norms = norm_D.index_select(0, from);
      CHECK((norms.max() / norms.min()).item<double>() <= 2);
    }
  }
  CHECK(turned > 100);
}

TEST_CASE("draw 0 is the checkpoint, each draw is the same every time, and the full model is not written to") {
  const Llama full = tiny_books(at::kFloat), again = tiny_books(at::kFloat);
  const Llama zero = redrawn(full, 0), one = redrawn(full, 1), two = redrawn(full, 2);
  for (const auto linear : kLayerLinears) {
    const auto weight = [&](const Llama& model) { return (model.layers[1].*linear).weight_OI; };
    CHECK(weight(zero).is_same(weight(full)));
    CHECK(at::equal(weight(one), weight(redrawn(full, 1))));
    CHECK_FALSE(at::equal(weight(one), weight(two)));
    CHECK(at::equal(weight(full), weight(again)));
  }
  CHECK(at::equal(full.embed_tokens_VD, again.embed_tokens_VD));
}

TEST_CASE("scales of a head, and the gradient by them, are those of the checkpoint's head in every draw") {
  LlamaConfig config = small_llama_config();
  config.num_attention_heads = 8;
  config.num_key_value_heads = 4;
  const Llama full = random_llama(config, at::kDouble, 6);
  BandScales scales{{BandVariant::independent, {0, 3, 8}, 2, 4}, {}};
  for (int64_t i = 0; i < scales.layout.size(); ++i)
    scales.g.push_back(std::exp(0.3 * std::sin(static_cast<double>(i))));
  Llama scaled = full;
  scale_bands(scales, scaled);
  const at::Tensor tokens_T = at::arange(30), expected = all_logits(scaled, "{type: none}");
  const ops::RopeAngles angles =
      rope_angles(make_scheme("{type: none}")->table(config.rope_geometry(30), 30), 30, at::kDouble, at::kCPU, false);
  const ScaleGradient slope = scale_gradient(full, tokens_T, angles, 20, 4);
  for (const uint64_t draw : {1, 2, 3}) {
    Llama model = redrawn(full, draw);
    CAPTURE(draw);
    REQUIRE_FALSE(std::ranges::is_sorted(model.layers[0].key_heads));
    const ScaleGradient found = scale_gradient(model, tokens_T, angles, 20, 4);
    CHECK(largest_difference(found.query_LKP, slope.query_LKP) < 1e-10);
    CHECK(largest_difference(found.key_LKP, slope.key_LKP) < 1e-10);
    scale_bands(scales, model);
    CHECK(largest_difference(all_logits(model, "{type: none}"), expected) < 1e-10);
  }
}

TEST_CASE("every registered quantizer that rounds is among the formats whose draws are measured") {
  std::set<std::string> measured{"none"};
  for (const DrawnFormat& format : kDrawnFormats) measured.insert(type_of(format));
  for (const auto& [name, entry] : Registry<Quantizer>::instance().entries()) {
    CAPTURE(name);
    CHECK(measured.contains(name));
  }
}

TEST_CASE("every format draws errors as large as draw 0's, which hardly correlate with them") {
  const Llama full = tiny_books(at::kFloat);
  const CalibrationInput input(QROAR_SOURCE_DIR "/tests/support/text.jsonl", "samples: 16, length: 64", kTinyBooks,
                               full);
  for (const DrawnFormat& format : kDrawnFormats) {
    CAPTURE(format.weight);
    for (const DrawnErrors& drawn : drawn_errors(format, 2, full, input)) {
      CHECK(std::abs(drawn.squared - 1) < 0.03);
      CHECK(std::abs(drawn.correlation) < format.correlation);
    }
  }
}

TEST_CASE("a quantized cache draws new errors, too") {
  const Llama full = tiny_books(at::kFloat);
  const at::Tensor expected = all_logits(full, "{type: none}");
  const char* kv = "kv: {type: fake_quant, key: {type: rtn, bits: 4, group: 0}, value: {type: rtn, bits: 4, group: 0}}";
  const auto errors_of = [&](int64_t draw) {
    const QuantPlan plan = plan_with_draw(kv, draw, full.config);
    return (all_logits(apply(plan, prepare(plan, full), {}), "{type: none}") - expected).to(at::kDouble);
  };
  const at::Tensor first = errors_of(0), second = errors_of(1);
  // Sizes are alike; half of the error at least is the draw's own.
  CHECK(second.norm().item<double>() / first.norm().item<double>() == Approx(1).epsilon(0.5));
  CHECK(correlation({first}, {second}) < 0.5);
}

}  // namespace qroar
