// Decoding token by token, the same op by op, and what its tests run under.
#pragma once
#include "model/decode.h"
#include "quant/plan.h"
#include "support/rope.h"

namespace qroar {

/// The states [T, D] of all tokens, the first `prompt` of which are appended at once and the others one by one.
inline at::Tensor decoded_states(const Llama& model, const TableOf& table_of, const at::Tensor& tokens_T,
                                 int64_t prompt) {
  Decoder decoder(model, table_of, tokens_T.size(0), false);
  std::vector<at::Tensor> parts{decoder.append(tokens_T.slice(0, 0, prompt))};
  for (int64_t i = prompt; i < tokens_T.size(0); ++i) parts.push_back(decoder.append(tokens_T.slice(0, i, i + 1)));
  return at::cat(parts);
}

/// The model with something between its ops, though it does nothing: no layer of it goes through in one.
inline Llama op_by_op(Llama model) {
  for (DecoderLayer& layer : model.layers) layer.heads.value.function = [](const at::Tensor& x) { return x; };
  return model;
}

inline constexpr double kTolerance = 1e-10;  // float64; sums are taken in another order

struct Scheme {
  std::unique_ptr<RopeScheme> scheme;
  LlamaConfig llama;

  RopeTable table(int64_t length) const { return scheme->table(llama.rope_geometry(64), length); }
  ops::RopeAngles angles(int64_t length) const {
    return rope_angles(table(length), length, at::kDouble, at::kCPU, false);
  }
};

inline at::Tensor random_tokens(int64_t count) {
  at::manual_seed(5);
  return at::randint(50, {count}, at::kLong);
}

inline Llama with(const Llama& model, const std::string& yaml) {
  return apply(QuantPlan(Config::parse(yaml, "t.yaml"), model.config), model, {});
}

/// Blocks `kv`, the first of which does nothing.
inline const std::vector<std::string> kCaches{
    "{kv: {type: none}}",
    "{kv: {type: fake_quant, key: {type: rtn, bits: 4, group: 0}, value: {type: rtn, bits: 4, group: 0}}}",
    "{kv: {type: fake_quant, key: {type: rtn, bits: 4, group: 0}, key_rope: before, query: {type: rtn, bits: 8, group: "
    "0}}}",
    "{kv: {type: fake_quant, key: {type: rtn, bits: 2, group: 4}, key_axis: channel, value: {type: rtn, bits: 2, "
    "group: "
    "0}, value_axis: token, residual: 5}}",
    "{kv: {type: fake_quant, key: {type: rtn, bits: 4, group: 0}, value: {type: rtn, bits: 4, group: 0}, residual: "
    "3}}"};

}  // namespace qroar
