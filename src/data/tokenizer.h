// SentencePiece tokenizing (Kudo & Richardson, arXiv 1808.06226).  Byte-level BPE models are pre-tokenized by
// scripts/tokenize.py instead.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace qroar {

class Tokenizer {
 public:
  /// Loads a tokenizer.model file.
  explicit Tokenizer(const std::filesystem::path& file);
  ~Tokenizer();
  /// Token ids of a text, without BOS or EOS.
  std::vector<int32_t> encode(const std::string& text) const;
  int64_t vocab_size() const;

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

/// Hash of the model folder's tokenizer.model, or of its tokenizer.json where there is none; an Error when both are
/// missing.
std::string tokenizer_hash(const std::filesystem::path& model_folder);

}  // namespace qroar
