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

/// Of every question the summed ln p of each continuation given its context; nats.  Questions are packed
/// (model/packing.h) up to kPackedTokens where the model allows it.  `known` says what is known of a question, or
/// nothing; `tell` hears of those that are new once they are finished.
using Likelihoods = std::vector<double>;
std::vector<Likelihoods> choice_log_likelihoods(const Llama& model, const AnglesOf& angles_of,
                                                const std::vector<Choices>& questions,
                                                const std::function<std::optional<Likelihoods>(std::size_t)>& known,
                                                const std::function<void(std::size_t, const Likelihoods&)>& tell);

/// The same, each continuation with its context by itself: the slow twin.
std::vector<double> choice_log_likelihoods_alone(const Llama& model, const AnglesOf& angles_of,
                                                 const Choices& question);

}  // namespace qroar
