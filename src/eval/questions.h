// Files of questions: JSON lines whose fields a prompt is made of.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "config/config.h"

namespace qroar {

struct Question {
  std::string place;  ///< file:line
  Json fields;

  /// A field that must be there; an Error with the place when it is not, or is no text.
  std::string text(const std::string& field) const;
};

/// All lines of a .jsonl file.  Errors: no such file, a line that is no JSON object (file:line), no lines.
std::vector<Question> read_questions(const std::filesystem::path& file);

/// An optional text with {field}s, for filled(); an Error at its place when a brace does not close.
std::string read_pattern(const Config& config, const std::string& key, const std::string& fallback);

/// A text with every {field} replaced by the question's; {{ and }} are braces.
std::string filled(const std::string& pattern, const Question& question);

class Tokenizer;
struct TokenPair {
  std::vector<int32_t> context, continuation;
};

/// Tokens of each continuation after one context, as lm-evaluation-harness cuts them: both are tokenized in one text,
/// and spaces at the context's end belong to the continuation.
std::vector<TokenPair> encode_pairs(const Tokenizer& tokenizer, std::string context,
                                    const std::vector<std::string>& continuations);

}  // namespace qroar
