// How a tokenizer.json changes a text before it is cut into pieces: its "normalizer".
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace qroar {

class Normalizer {
 public:
  /// Reads NFC, NFD, NFKC, NFKD, Prepend, Replace (of a text) and sequences of them; null changes nothing.  Throws an
  /// Error that begins with `file` and names anything else.
  Normalizer(const Json& normalizer, const std::string& file);

  /// Returns whether it changes texts at all.
  bool has_steps() const { return !steps_.empty(); }
  /// Returns whether what comes first may be from behind a text's first character: a Replace of several characters, or
  /// by nothing.
  bool may_drop_start() const { return may_drop_start_; }

  /// Throws an Error where a text would grow beyond 32 times its bytes, which no normal form does.
  std::string normalized(std::string_view text) const;

 private:
  using Step = std::function<std::string(const std::string& text, std::size_t most_bytes)>;
  void read(const Json& normalizer, const std::string& file);

  std::vector<Step> steps_;
  bool may_drop_start_ = false;
};

}  // namespace qroar
