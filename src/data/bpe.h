// The BPE model (byte-pair encoding, Sennrich et al., arXiv 1508.07909) of a tokenizer.json, the file format of Hugging
// Face's tokenizers.  We found no well-maintained C++ library for it; tests/peers compares every token with theirs.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"

namespace qroar {

class Bpe {
 public:
  /// Reads "model" and "added_tokens".  Throws an Error that begins with `file` for any unsupported setting that would
  /// change ids: dropout, affixes, added tokens that are cut out of texts.
  Bpe(const Json& tokenizer, const std::string& file);

  /// Returns the ids of all pieces in order; nothing is merged across their ends.
  std::vector<int32_t> encode(const std::vector<std::string>& pieces) const;

  /// Returns the name of each token in the vocabulary; empty for special tokens and for ids without a token.
  const std::vector<std::string>& names() const { return names_; }
  /// Returns the tokens <0x00> to <0xFF>, or none without byte_fallback.
  const std::vector<int32_t>& byte_tokens() const { return byte_tokens_; }

 private:
  struct Merge {
    int32_t rank, id;
  };
  struct PairHash {
    std::size_t operator()(const std::pair<int32_t, int32_t>& pair) const {
      return std::hash<uint64_t>()(static_cast<uint64_t>(pair.first) << 32 | static_cast<uint32_t>(pair.second));
    }
  };
  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
  };
  using Ids = std::unordered_map<std::string, int32_t, NameHash, std::equal_to<>>;

  void read_vocabulary(const Json& tokenizer, const std::string& file);
  void read_merges(const Json& merges, const std::string& file);
  std::vector<int32_t> encode_piece(std::string_view piece) const;
  std::vector<int32_t> characters(std::string_view piece) const;
  std::vector<int32_t> merged(const std::vector<int32_t>& characters) const;

  std::vector<std::string> names_;
  Ids ids_;                           ///< of all tokens
  std::vector<bool> special_;         ///< by id
  std::vector<int32_t> byte_tokens_;  ///< for characters without a token
  std::optional<int32_t> unknown_;    ///< for characters that also lack byte tokens
  bool fuse_unknown_ = false, ignore_merges_ = false;
  std::unordered_map<std::pair<int32_t, int32_t>, Merge, PairHash> merges_;
};

}  // namespace qroar
