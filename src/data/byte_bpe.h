// Byte-level BPE as described by a tokenizer.json (GPT-2, SmolLM2, Llama-3, Qwen2 ...): patterns split a text into
// pieces, and every byte of a piece is a printable character of the vocabulary.
#pragma once
#include "data/bpe.h"
#include "data/tokenizer.h"

namespace qroar {

/// A rule that splits text before merging.  It takes the pieces of the previous rule, prepends a space to each piece
/// that lacks one if `prefix_space` is set, and splits them at the matches of its pattern, which become separate
/// pieces.
class PieceRule {
 public:
  /// An empty pattern splits nothing.
  explicit PieceRule(const std::string& pattern, bool prefix_space = false);
  std::vector<std::string> split(const std::string& piece) const;

 private:
  std::shared_ptr<void> code_;  ///< compiled by PCRE2; null without a pattern
  bool prefix_space_;
};

class ByteBpe : public Tokenizer {
 public:
  /// Supports the pre-tokenizers ByteLevel, Digits, Split (isolated) and sequences of them, without a normalizer.
  /// Throws an Error that names anything else.
  ByteBpe(const Json& tokenizer, const std::string& file);

  std::vector<int32_t> encode(const std::string& text) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return std::ssize(bytes_of_); }

 private:
  std::vector<PieceRule> rules_;
  Bpe bpe_;
  std::vector<std::string> bytes_of_;  ///< by id; empty for special tokens
};

}  // namespace qroar
