// Texts as they lie on disk: .txt (one document) and .jsonl ({"id", "text"} a line).
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace qroar {

struct Text {
  std::string id;
  std::string text;
  int64_t words = 0, bytes = 0;  ///< of the text as it was published, bytes in UTF-8
};

/// What a file's bytes say in UTF-8.  A byte order mark in front is left out with a warning: it names the encoding, and
/// a model would be shown up to three tokens that the text does not have.  An Error with line and offset of the first
/// byte that is no UTF-8 or is NUL, as every second one of a UTF-16 file in English is; `file` stands in it.
std::string decoded_text(std::string bytes, const std::filesystem::path& file);

/// decoded_text() of a file.
std::string read_text(const std::filesystem::path& file);

/// The documents of a .txt or .jsonl file with these bytes.  Errors name the line: broken JSON, half of a surrogate
/// pair, a number beyond double, a missing or doubled key, counts that are none, an id that an earlier line has.
std::vector<Text> parse_texts(std::string bytes, const std::filesystem::path& file);

}  // namespace qroar
