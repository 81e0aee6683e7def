// Log-likelihoods of continuations, many questions in one forward.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "eval/questions.h"
#include "model/angles.h"
#include "model/llama.h"

namespace qroar {

/// Contexts with the continuations that are weighed against each other.  Where all contexts are the same one, it goes
/// through the model once.
struct Choices {
  std::vector<TokenPair> pairs;  ///< nothing in them is empty
};

/// A common beginning that is worth keeping has so many tokens at least.
inline constexpr int64_t kSharedTokens = 128;

/// Of every question the summed ln p of each continuation given its context; nats.  Where the model allows it
/// (can_pack()), questions are packed up to kPackedTokens, and what all contexts begin with (padding, examples) goes
/// through the model once, if it is kSharedTokens long; under a scheme that depends on the length, tables are then
/// those of the longest question.  `known` says what is known of a question, or nothing; `answered` hears of those that
/// are new once they are finished.
using Likelihoods = std::vector<double>;
std::vector<Likelihoods> choice_log_likelihoods(const Llama& model, const AnglesOf& angles_of,
                                                const std::vector<Choices>& questions,
                                                const std::function<std::optional<Likelihoods>(std::size_t)>& known,
                                                const std::function<void(std::size_t, const Likelihoods&)>& answered);

/// The same, each continuation with its context by itself: the slow twin.
std::vector<double> choice_log_likelihoods_alone(const Llama& model, const AnglesOf& angles_of,
                                                 const Choices& question);

/// Estimate of the floating point operations of each question; those of what all begin with are the first one's.
std::vector<double> choice_flops(const LlamaConfig& llama, const std::vector<Choices>& questions);

}  // namespace qroar
