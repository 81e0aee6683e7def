// Files of questions: JSON lines whose fields a prompt is built from.
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

  /// Returns `id`, a text or an integer; the place where there is none.
  std::string id() const;
  /// Returns `group`, a text that questions share whose answers may depend on each other; its id, or else the file's
  /// name and the line, where there is none.
  std::string group() const;
  /// Returns all fields as one text: rows are compared over equal questions, whatever their ids.
  std::string content() const { return fields.dump(); }
  /// Returns the fields but those that only name the question.
  std::string asked() const;
  /// Returns a required text field; throws an Error with the place when it is missing or no text.
  std::string text(const std::string& field) const;
  /// Returns a required field, a list of at least `least` texts; throws an Error with the place when it is not.
  std::vector<std::string> texts(const std::string& field, std::size_t least) const;
};

/// Reads all lines of a .jsonl file.  Throws an Error when there is no such file, for a line that is not a JSON object
/// (with file:line and the reason), for the id of an earlier line, and when there are no lines.  Adds the hash of the
/// bytes that it read to `hash`.
std::vector<Question> read_questions(const std::filesystem::path& file, std::string& hash);

/// A text with {field} where a question's field goes; {{ and }} are literal braces.
class PromptPattern {
 public:
  /// Reads the optional text at `key`; throws an Error at its place for an unmatched brace or an empty field name.
  PromptPattern(const Config& config, const std::string& key, const std::string& fallback);

  /// Throws an Error at the key's place for a pattern that would not insert the fields of the questions of `file`: one
  /// without fields, with a field that no question has, or with a {{field}}, as lm-evaluation-harness writes them.
  void check_fields(const std::vector<Question>& questions, const std::filesystem::path& file) const;
  /// Returns the text with every field replaced by the question's; throws an Error with the question's place when a
  /// field is missing or is not a text.
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
  std::vector<std::pair<std::string, std::string>> doubled_;  ///< the name and the whole text of each {{name ...}}
};

class Tokenizer;
struct TokenPair {
  std::vector<int32_t> context, continuation;
};

/// Returns the tokens of each continuation after one context, split as in lm-evaluation-harness: both are tokenized as
/// one text, and white space at the context's end belongs to the continuation.
std::vector<TokenPair> encode_pairs(const Tokenizer& tokenizer, std::string context,
                                    const std::vector<std::string>& continuations);

}  // namespace qroar
