// The tokens that a tokenizer.json adds to its model's: its "added_tokens".  A plain one that is spelled out in a text
// is that token, whatever stands around it; a special one is text like any other, so that no text can end a document.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "data/normalizer.h"

namespace qroar {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool is_special = false;
  bool is_normalized = false;  ///< is looked for in the normalized text, else in the text as it is
  bool takes_space_before = false, takes_space_behind = false;  ///< white space there disappears into the token
};

/// Reads "added_tokens".  Throws an Error that begins with `file` for one that is empty, longer than 256 bytes, there
/// twice, plain and bound to whole words, or that has an unknown key or an id that is not below 2^20.
std::vector<AddedToken> read_added_tokens(const Json& tokenizer, const std::string& file);

/// What looks for added tokens in a text.
class AddedTokenFinder {
 public:
  struct Section {
    std::string_view text;      ///< without added tokens, unless it is one; never empty
    std::optional<int32_t> id;  ///< of the added token that it is
  };

  /// Looks for those tokens whose is_normalized is `normalized`, by their contents as `normalizer` makes them if so.
  AddedTokenFinder(const std::vector<AddedToken>& tokens, bool normalized, const Normalizer& normalizer,
                   const std::string& file);

  /// Cuts a text at its added tokens: at each place, from left to right, the longest one.  A special one hides those
  /// that begin inside of it.
  std::vector<Section> sections(std::string_view text) const;

 private:
  const AddedToken* longest(std::string_view text) const;

  std::vector<AddedToken> tokens_;  ///< in the order of their contents
  std::array<bool, 256> begins_{};  ///< by byte: whether a token begins with it
  bool has_plain_ = false;          ///< else no text is cut
};

}  // namespace qroar
