// Fits the contexts of questions to a number of tokens.
#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "eval/choices.h"

namespace qroar {

/// Prepends the first tokens of a padding to every context of the questions that fit `tokens`: the same number of them,
/// with which the longest of these questions, its longest continuation and BOS included, has so many tokens.  Prepends
/// BOS to every context, where there is one.  Throws an Error with the padding's file when it is too short.
void pad(std::vector<Choices>& questions, const std::vector<int32_t>& padding, int64_t tokens,
         std::optional<int64_t> bos, const std::filesystem::path& file);

/// Removes from the beginning of each context what does not fit the window with its continuation, whose last token is
/// only predicted; returns whether any context lost something.  Throws an Error with the question's place for a
/// continuation that fills the window alone.
bool cut(Choices& question, int64_t window, const std::string& place);

}  // namespace qroar
