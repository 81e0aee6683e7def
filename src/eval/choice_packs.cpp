#include "eval/choice_packs.h"

#include <algorithm>

#include "model/packing.h"

namespace qroar {

void Lengths::add(const Choices& question, const Part& part) {
  for (std::size_t i = part.first; i < part.end; ++i) {
    const auto& [context, continuation] = question.pairs[i];
    const int64_t tokens = std::ssize(context) + std::ssize(continuation) - 1;  // the last one is only predicted
    shortest = std::min(shortest, tokens);
    longest = std::max(longest, tokens);
  }
}

bool Lengths::have_one_table(const TableOf& table_of) const {
  return shortest >= longest || table_of(shortest) == table_of(longest);
}

Lengths lengths_of(const std::vector<Choices>& questions, const std::vector<Part>& parts) {
  Lengths lengths;
  for (const Part& part : parts) lengths.add(questions[part.question], part);
  return lengths;
}

Lengths lengths_of(const std::vector<Choices>& questions, const SharedTokens& shared) {
  Lengths lengths;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    if (shared.by[i]) lengths.add(questions[i], {i, 0, questions[i].pairs.size()});
  }
  return lengths;
}

std::vector<Part> parts_of(const Choices& question, std::size_t index) {
  std::vector<Part> parts;
  for (std::size_t i = 0; i < question.pairs.size(); ++i) {
    if (i == 0 || question.pairs[i].context != question.pairs[i - 1].context) parts.push_back({index, i, i});
    parts.back().end = i + 1;
  }
  return parts;
}

std::vector<std::vector<Part>> packs_of(const std::vector<Choices>& questions, const SharedTokens& shared) {
  std::vector<std::vector<Part>> packs;
  const auto add = [&](std::size_t index, int64_t& filled) {
    const Choices& question = questions[index];
    const auto tokens_of = [&](const Part& part) {
      int64_t tokens = std::ssize(question.pairs[part.first].context) - shared.count(index);
      for (std::size_t i = part.first; i < part.end; ++i) tokens += std::ssize(question.pairs[i].continuation) - 1;
      return tokens;
    };
    const std::vector<Part> parts = parts_of(question, index);
    int64_t all = 0;
    for (const Part& part : parts) all += tokens_of(part);
    for (const Part& part : parts) {
      const bool may_begin = part.first == 0 || all > kPackedTokens;
      if (may_begin && filled >= kPackedTokens) {
        packs.emplace_back();
        filled = 0;
      }
      packs.back().push_back(part);
      filled += tokens_of(part);
    }
  };
  for (const bool sharing : {true, false}) {
    int64_t filled = kPackedTokens;
    for (std::size_t index = 0; index < questions.size(); ++index) {
      if (shared.by[index] == sharing) add(index, filled);
    }
  }
  return packs;
}

}  // namespace qroar
