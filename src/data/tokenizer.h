// Converts text to tokens and back: SentencePiece (Kudo & Richardson, arXiv 1808.06226) from tokenizer.model; BPE from
// tokenizer.json (data/json_tokenizer.h).
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
  /// Returns the token ids of a text, without BOS or EOS; a special token that is spelled out in the text counts as
  /// text, a plain added one as that token.
  virtual std::vector<int32_t> encode(const std::string& text) const = 0;
  /// Returns the text of token ids, without special tokens and ids that have no token.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  virtual int64_t vocab_size() const = 0;
};

/// Returns the tokenizer file of a model folder: tokenizer.model, or tokenizer.json if there is none, if it has plain
/// added tokens that tokenizer.model lacks, or (with a warning) if the latter is in Llama-3's tiktoken format.  Throws
/// an Error when both are missing.
std::filesystem::path tokenizer_file(const std::filesystem::path& model_folder);

/// Loads tokenizer_file().  Throws an Error when it is malformed or of an unsupported kind.
std::unique_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& model_folder);

/// Returns the hash of tokenizer_file().
std::string tokenizer_hash(const std::filesystem::path& model_folder);

}  // namespace qroar
