// Log-likelihoods of continuations, with many questions in one forward.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "eval/questions.h"
#include "model/angles.h"
#include "model/llama.h"

namespace qroar {

/// The contexts and continuations of one question.  Where all contexts are equal, the context goes through the model
/// once.
struct Choices {
  std::vector<TokenPair> pairs;  ///< no context or continuation is empty
};

/// Returns, for every question, the summed ln p of each continuation given its context, in nats.  Where the model
/// allows it (can_pack()), questions are packed up to kPackedTokens, and the prefix that most questions share (padding,
/// examples) goes through the model once, if it has at least kSharedTokens tokens.  Each continuation has the table of
/// its own length: where those of a pack differ under `table_of`, each goes through the model alone.  `known` returns
/// the known result of a question, or nothing; `answered` is called with each new result once it is finished.
using Likelihoods = std::vector<double>;
std::vector<Likelihoods> choice_log_likelihoods(const Llama& model, const AnglesOf& angles_of, const TableOf& table_of,
                                                const std::vector<Choices>& questions,
                                                const std::function<std::optional<Likelihoods>(std::size_t)>& known,
                                                const std::function<void(std::size_t, const Likelihoods&)>& answered);

/// Does the same with a separate forward for each continuation and its context: the slow reference implementation.
std::vector<double> choice_log_likelihoods_alone(const Llama& model, const AnglesOf& angles_of,
                                                 const Choices& question);

/// Returns an estimate of the floating point operations of each question; those of the shared prefix count for the
/// first.
std::vector<double> choice_flops(const LlamaConfig& llama, const std::vector<Choices>& questions);

}  // namespace qroar
