// SentencePiece's BPE as described by a tokenizer.json, which transformers 5 saves for a Llama-2 instead of
// tokenizer.model.  Characters are merged, "▁" stands for a space, and a character without a token becomes its bytes.
#pragma once
#include "data/bpe.h"
#include "data/tokenizer.h"

namespace qroar {

class SentencePieceBpe : public Tokenizer {
 public:
  /// Supports the normalizers Prepend, Replace (of a text) and sequences of them, the pre-tokenizer Metaspace or none,
  /// and the decoder that transformers writes for them.  Throws an Error that names anything else.
  SentencePieceBpe(const Json& tokenizer, const std::string& file);

  std::vector<int32_t> encode(const std::string& text) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return std::ssize(text_of_); }

 private:
  /// A step before the merging of characters: replaces every `from` with `to`, or prepends `to`.
  struct Step {
    enum { replace, prepend, prepend_unless_there } kind;
    std::string from, to;
  };
  void read_normalizer(const Json& normalizer, const std::string& file);
  void read_pre_tokenizer(const Json& pre_tokenizer, const std::string& file);
  void read_decoder(const Json& decoder, const std::string& file);

  Bpe bpe_;
  std::vector<Step> steps_;
  std::string cut_before_;            ///< pieces begin with it; empty: a text is one piece
  std::vector<std::string> text_of_;  ///< by id; empty for special tokens
  std::vector<bool> is_byte_;         ///< by id: <0x00> to <0xFF>, whose texts are the bytes
  std::size_t stripped_ = 0;          ///< number of leading spaces to remove from a decoded text
};

}  // namespace qroar
