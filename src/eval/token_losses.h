// The losses of a single sequence.
#pragma once
#include <vector>

#include "model/llama.h"

namespace qroar {

/// Rows of logits held at a time: large enough for a fast matrix product, small enough that [R, V] stays at tens of
/// megabytes.
inline constexpr int64_t kLogitRows = 256;

/// Returns -ln p of tokens first + 1, first + 2 .. of a sequence [T], each given all before it, in nats.
std::vector<double> token_losses(const Llama& model, const at::Tensor& tokens_T, const ops::RopeAngles& angles,
                                 int64_t first);

}  // namespace qroar
