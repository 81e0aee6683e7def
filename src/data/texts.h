// Text files: .txt (one document) and .jsonl ({"id", "text"} per line, perhaps with "group", "words", "bytes").
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
  /// What the text is a piece of, such as one book; empty where the line does not say.
  std::string group{};  // NOLINT(readability-redundant-member-init): aggregates may leave it out
};

/// Returns why a text cannot name a group; empty where it can.
std::string group_error(const std::string& group);

/// Returns the UTF-8 text of a file's bytes.  Removes a leading byte order mark with a warning: it only marks the
/// encoding, and a model would see up to three tokens that are not part of the text.  Throws an Error with `file`, line
/// and offset of the first byte that is not UTF-8 or is NUL, as every second byte of an English UTF-16 file is.
std::string decoded_text(std::string bytes, const std::filesystem::path& file);

/// Returns the decoded_text() of a file, and in `hash` that of the bytes that were read.
std::string read_text(const std::filesystem::path& file, std::string* hash = nullptr);

/// Parses the documents of a .txt or .jsonl file from its bytes.  Throws an Error that names the line for invalid JSON,
/// half of a surrogate pair, a number beyond the range of double, a missing or duplicate key, an invalid count, and a
/// duplicate id.
std::vector<Text> parse_texts(std::string bytes, const std::filesystem::path& file);

}  // namespace qroar
