// How the continuations of questions are grouped into packs, which go through the model together.
#pragma once
#include <limits>
#include <vector>

#include "eval/choices.h"
#include "eval/shared_tokens.h"

namespace qroar {

/// Choices first .. end - 1 of a question, which share one context.
struct Part {
  std::size_t question, first, end;
};

/// Returns the parts of the question with this index.
std::vector<Part> parts_of(const Choices& question, std::size_t index);

/// The numbers of tokens that go through the model for some continuations, each with its context.
struct Lengths {
  int64_t shortest = std::numeric_limits<int64_t>::max(), longest = 0;

  void add(const Choices& question, const Part& part);
  /// Returns whether the scheme has one table for all of them: it changes with the length in one direction, or once.
  bool have_one_table(const TableOf& table_of) const;
};

Lengths lengths_of(const std::vector<Choices>& questions, const std::vector<Part>& parts);
/// Returns the lengths of the questions that share the prefix.
Lengths lengths_of(const std::vector<Choices>& questions, const SharedTokens& shared);

/// Groups the questions into packs, first those that share the prefix.  The grouping depends on the questions alone,
/// not on which of them are already known, since it may affect the last bits of the results.  A pack ends with the
/// question that fills it; a question that no pack can hold, such as one with several long contexts, is spread over
/// several packs.
std::vector<std::vector<Part>> packs_of(const std::vector<Choices>& questions, const SharedTokens& shared);

}  // namespace qroar
