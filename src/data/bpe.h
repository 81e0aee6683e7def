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
#include "data/added_tokens.h"
#include "data/pre_tokenizer.h"

namespace qroar {

class Bpe {
  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
  };

 public:
  /// Where the ids of a piece lie in the ids of the text, which is where it stood first.
  struct Place {
    std::size_t begin, count;
  };
  /// The pieces of a text so far.
  using KnownPieces = std::unordered_map<std::string, Place, NameHash, std::equal_to<>>;

  /// Reads the "model" of a tokenizer.json.  Throws an Error that begins with `file` for any unsupported setting that
  /// would change ids: dropout, affixes.
  Bpe(const Json& model, const std::vector<AddedToken>& added, const std::string& file);

  /// Appends the ids of all pieces in order.  `known` and `ids` are of one text.
  void encode(const Pieces& pieces, KnownPieces& known, std::vector<int32_t>& ids) const;

  /// Returns the name of each token in the vocabulary; empty for ids without a token.
  const std::vector<std::string>& names() const { return names_; }
  /// Returns how many tokens the vocabulary has.
  std::size_t size() const { return ids_.size(); }
  /// Returns the id of a token of the vocabulary.
  std::optional<int32_t> id_of(std::string_view token) const;

 private:
  struct Merge {
    int32_t rank, id;
  };
  struct PairHash {
    std::size_t operator()(const std::pair<int32_t, int32_t>& pair) const {
      return std::hash<uint64_t>()(static_cast<uint64_t>(pair.first) << 32 | static_cast<uint32_t>(pair.second));
    }
  };

  void read_vocabulary(const Json& vocabulary, const std::vector<AddedToken>& added, const std::string& file);
  void read_merges(const Json& merges, const std::string& file);
  std::vector<int32_t> encode_piece(std::string_view piece) const;
  std::vector<int32_t> characters(std::string_view piece) const;
  std::vector<int32_t> merged(const std::vector<int32_t>& characters) const;

  std::vector<std::string> names_;
  std::unordered_map<std::string, int32_t, NameHash, std::equal_to<>> ids_;
  std::vector<bool> special_;         ///< by id
  std::vector<int32_t> byte_tokens_;  ///< for characters without a token: <0x00> to <0xFF>, or none
  std::optional<int32_t> unknown_;    ///< for characters that also lack byte tokens
  bool fuse_unknown_ = false, ignore_merges_ = false;
  std::unordered_map<std::pair<int32_t, int32_t>, Merge, PairHash> merges_;
};

}  // namespace qroar
