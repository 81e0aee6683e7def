// Files of questions: JSON lines whose fields a prompt is made of.
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"

namespace qroar {

struct Question {
  std::string place;  ///< file:line
  Json fields;

  /// `id`, a text or an integer; the place where there is none.
  std::string id() const;
  /// A field that must be there and a text; an Error with the place when it is not.
  std::string text(const std::string& field) const;
  /// A field that must be there and a list of `least` texts or more; an Error with the place when it is not.
  std::vector<std::string> texts(const std::string& field, std::size_t least) const;
};

/// All lines of a .jsonl file.  Errors: no such file, a line that is no JSON object (file:line, and why), no lines.
std::vector<Question> read_questions(const std::filesystem::path& file);

/// A value as JSON on one line, cut where it is long: what messages show of files.
std::string excerpt(const Json& value);

/// A text with {field}s of a question in it; {{ and }} are braces.
class Pattern {
 public:
  /// The optional text at `key`; an Error at its place when a brace has no partner or a field no name.
  Pattern(const Config& config, const std::string& key, const std::string& fallback);

  /// An Error at the key's place for a pattern that would not ask every question of `file` for what is its own: one
  /// without fields, with a field that no question has, or with a {{field}}, as lm-evaluation-harness writes them.
  void check_fields(const std::vector<Question>& questions, const std::filesystem::path& file) const;
  /// With every field replaced by the question's; an Error with the question's place where it has none, or no text.
  std::string filled(const Question& question) const;

 private:
  struct Piece {
    std::string text;
    bool is_field;
  };
  void read_pieces();
  void note_doubled(std::size_t begin);
  [[noreturn]] void fail(const std::string& message) const;

  std::string text_;
  bool is_default_;
  Config place_;
  std::vector<Piece> pieces_;
  std::vector<std::pair<std::string, std::string>> doubled_;  ///< of each {{name ...}} the name and all of it
};

class Tokenizer;
struct TokenPair {
  std::vector<int32_t> context, continuation;
};

/// Tokens of each continuation after one context, as lm-evaluation-harness splits them: both are tokenized in one text,
/// and white space at the context's end belongs to the continuation.
std::vector<TokenPair> encode_pairs(const Tokenizer& tokenizer, std::string context,
                                    const std::vector<std::string>& continuations);

}  // namespace qroar
