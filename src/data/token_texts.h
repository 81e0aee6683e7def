// The texts of tokens, to which a tokenizer.json's "decoder" decodes them.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"

namespace qroar {

class TokenTexts {
 public:
  /// `names`: of each id, empty for special tokens and ids without a token.  Reads the decoder ByteLevel, or none,
  /// where `is_byte_level`, and otherwise Replace (of a text), ByteFallback, Fuse and perhaps Strip of leading spaces.
  /// Throws an Error that begins with `file` and names anything else.
  TokenTexts(const Json& decoder, std::vector<std::string> names, bool is_byte_level, const std::string& file);

  /// Leaves out special tokens and ids without a token.  Bytes that are not UTF-8 are as they are from byte-level
  /// tokens, and U+FFFD from byte tokens.
  std::string text_of(std::span<const int32_t> ids) const;

  int64_t size() const { return std::ssize(texts_); }

 private:
  void read_sequence(const Json& decoder, const std::string& file);

  std::vector<std::string> texts_;  ///< by id
  std::vector<bool> is_byte_;       ///< by id: <0x00> to <0xFF>, whose texts are the bytes
  std::size_t stripped_ = 0;        ///< number of leading spaces to remove from a decoded text
};

}  // namespace qroar
