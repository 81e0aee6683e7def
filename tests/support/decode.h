// Decoding token by token, and the same op by op.
#pragma once
#include "model/decode.h"

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

}  // namespace qroar
