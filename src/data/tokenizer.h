// Text to tokens and back: SentencePiece (Kudo & Richardson, arXiv 1808.06226) from tokenizer.model, byte-level BPE
// (Sennrich et al. arXiv 1508.07909, over bytes as in GPT-2) from tokenizer.json.
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
  /// The text of token ids; special tokens are left out.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  virtual int64_t vocab_size() const = 0;
};

/// Of a model folder: its tokenizer.model, or its tokenizer.json where there is none.  An Error when both are missing,
/// broken or of a kind that is not read here.
std::unique_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& model_folder);

/// Hash of the file that load_tokenizer() reads.
std::string tokenizer_hash(const std::filesystem::path& model_folder);

}  // namespace qroar
