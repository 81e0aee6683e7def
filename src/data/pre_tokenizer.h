// How a tokenizer.json cuts a text into pieces: its "pre_tokenizer".
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace qroar {

/// A text in pieces; nothing is merged across their ends.
struct Pieces {
  std::string text;               ///< of all pieces, one behind the other
  std::vector<std::size_t> ends;  ///< of the pieces in the text; none is empty
  bool at_start = true;           ///< whether the first one begins its document

  void add(std::string_view piece);
  void each(const std::function<void(std::string_view)>& action) const;
};

class PreTokenizer {
 public:
  /// Reads ByteLevel (as the last part), Split, Digits, Metaspace and sequences of them; null cuts nothing.  Throws an
  /// Error that begins with `file` and names anything else.
  PreTokenizer(const Json& pre_tokenizer, const std::string& file);

  /// Throws an Error where a pattern fails.
  Pieces cut(std::string text, bool at_start) const;

  /// Returns whether pieces are bytes as GPT-2 writes them (data/byte_names.h).
  bool is_byte_level() const { return is_byte_level_; }
  /// Returns whether a Metaspace puts its mark only before what begins a document, and whether that may be a piece.
  bool marks_start() const { return marks_start_; }
  bool marks_first_piece() const { return marks_first_piece_; }

 private:
  using Step = std::function<Pieces(Pieces)>;
  void read(const Json& pre_tokenizer, const std::string& file);
  void read_byte_level(const Json& part, const std::string& file);
  void read_split(const Json& part, const std::string& file);
  void read_metaspace(const Json& part, const std::string& file);

  std::vector<Step> steps_;
  bool is_byte_level_ = false, marks_start_ = false, marks_first_piece_ = false;
  bool has_marks_ = false;  ///< whether a Metaspace has put marks before texts
};

}  // namespace qroar
