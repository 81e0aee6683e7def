// Byte-level BPE as a tokenizer.json describes it (GPT-2, SmolLM2, Llama-3, Qwen2 ...): a text is cut into pieces by
// patterns, and every byte of a piece is a printable character of the vocabulary.
#pragma once
#include "data/bpe.h"
#include "data/tokenizer.h"

namespace qroar {

/// How text is cut before merging: each rule takes the pieces of the one before, puts a space before them where
/// `prefix_space` says so and none is there, and cuts them at its pattern's matches, which become pieces of their own.
class PieceRule {
 public:
  /// An empty pattern cuts nothing.
  explicit PieceRule(const std::string& pattern, bool prefix_space = false);
  std::vector<std::string> split(const std::string& piece) const;

 private:
  std::shared_ptr<void> code_;  ///< compiled by PCRE2; null without a pattern
  bool prefix_space_;
};

class ByteBpe : public Tokenizer {
 public:
  /// The pre-tokenizers may be ByteLevel, Digits, Split (isolated) or sequences of them, without a normalizer.  An
  /// Error names what is something else.
  ByteBpe(const nlohmann::json& tokenizer, const std::string& file);

  std::vector<int32_t> encode(const std::string& text) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return std::ssize(bytes_of_); }

 private:
  std::vector<PieceRule> rules_;
  Bpe bpe_;
  std::vector<std::string> bytes_of_;  ///< by id; empty for special tokens
};

}  // namespace qroar
