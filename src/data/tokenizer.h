// Text to tokens and back: SentencePiece (Kudo & Richardson, arXiv 1808.06226) from tokenizer.model, BPE from
// tokenizer.json: byte-level (GPT-2, Llama-3) or SentencePiece's (a Llama-2 that transformers 5 saved).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace qroar {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Token ids of a text, without BOS or EOS; a special token spelled out in the text is text.
  virtual std::vector<int32_t> encode(const std::string& text) const = 0;
  /// The text of token ids; special tokens and ids without a token are left out.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  virtual int64_t vocab_size() const = 0;
};

/// The one file of a model folder that makes its ids: tokenizer.model, or tokenizer.json where there is none or where
/// tokenizer.model is Llama-3's in tiktoken's format, which the log says.  An Error when both are missing.
std::filesystem::path tokenizer_file(const std::filesystem::path& model_folder);

/// What tokenizer_file() holds.  An Error when it is broken or of a kind that is not read here.
std::unique_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& model_folder);

/// Hash of tokenizer_file().
std::string tokenizer_hash(const std::filesystem::path& model_folder);

}  // namespace qroar
