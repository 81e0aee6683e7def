// The tokenizer of a tokenizer.json, the file format of Hugging Face's tokenizers, with BPE as its model: byte-level
// (GPT-2, Llama-3, Qwen, DeepSeek) or SentencePiece's (Llama-2, Phi-3, Gemma).  A text goes through the stages in this
// order: added tokens, normalizer, added tokens that are looked for behind it, pre-tokenizer, model.
#pragma once
#include "data/added_tokens.h"
#include "data/bpe.h"
#include "data/normalizer.h"
#include "data/pre_tokenizer.h"
#include "data/token_texts.h"
#include "data/tokenizer.h"

namespace qroar {

class JsonTokenizer : public Tokenizer {
 public:
  /// Throws an Error that begins with `file` and names whatever would change ids and is not done here.
  JsonTokenizer(const Json& tokenizer, const std::string& file);

  std::vector<int32_t> encode(const std::string& text) const override;
  std::string decode(std::span<const int32_t> ids) const override { return texts_.text_of(ids); }
  int64_t vocab_size() const override { return texts_.size(); }

 private:
  std::vector<AddedToken> added_;
  Normalizer normalizer_;
  AddedTokenFinder in_text_, in_normalized_;
  PreTokenizer pre_tokenizer_;
  Bpe bpe_;
  TokenTexts texts_;
};

}  // namespace qroar
