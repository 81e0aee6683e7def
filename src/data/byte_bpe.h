// Byte-level BPE as a tokenizer.json of Hugging Face's tokenizers describes it (GPT-2, SmolLM2, Llama-3, Qwen2 ...). We
// found no well-kept C++ library for it; tests/peers compares every token with theirs.
#pragma once
#include <unordered_map>

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
  /// Reads a tokenizer.json of model type BPE whose pre-tokenizers are ByteLevel, Digits, Split (isolated) or sequences
  /// of them, without a normalizer.  An Error names what is something else.
  explicit ByteBpe(const std::filesystem::path& file);

  std::vector<int32_t> encode(const std::string& text) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(bytes_of_.size()); }

 private:
  struct Merge {
    int32_t rank, id;
  };
  struct PairHash {
    std::size_t operator()(const std::pair<int32_t, int32_t>& pair) const {
      return std::hash<uint64_t>()(static_cast<uint64_t>(pair.first) << 32 | static_cast<uint32_t>(pair.second));
    }
  };
  std::vector<int32_t> merged(std::string_view piece) const;

  std::vector<PieceRule> rules_;
  bool ignore_merges_ = false;
  std::unordered_map<std::string, int32_t> id_of_;  ///< by bytes
  std::vector<std::string> bytes_of_;               ///< by id; empty for special tokens
  std::unordered_map<std::pair<int32_t, int32_t>, Merge, PairHash> merges_;
};

}  // namespace qroar
