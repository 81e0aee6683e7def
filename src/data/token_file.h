// The file format of pre-tokenized documents, little-endian: "QROARTOK", u32 version (1), u32 bytes of the JSON header,
// the header {"hash": digits, "tokenizer": hash, "vocab_size": n, "source": text, "ids": [..], "words": [..], "bytes":
// [..], "groups": [..]}, int64 offsets[documents + 1], int32 tokens[offsets.back()].  words, bytes, the hash and groups
// are optional; groups are left out where each is its document's id, which they stand for where they are absent; the
// hash is the XXH3 128-bit (base/files.h) of the file with these 32 digits as zeros.  scripts/tokenize_texts.py writes
// the same format; the file is untrusted input and every count, offset and token is checked.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace qroar {

struct Document {
  std::string id;
  std::vector<int32_t> tokens;   ///< text tokens, no BOS
  int64_t words = 0, bytes = 0;  ///< of the text as published, bytes in UTF-8; 0: unknown
  /// What the text is a piece of, such as one book; empty where nothing says so.
  std::string group{};  // NOLINT(readability-redundant-member-init): aggregates may leave it out

  /// Returns the name of the cluster: texts of one cluster may depend on each other (docs/method.md 5).
  const std::string& cluster() const { return group.empty() ? id : group; }
};

struct TokenFile {
  std::string tokenizer;   ///< hash (base/files.h) of the tokenizer file that made the tokens
  int64_t vocab_size = 0;  ///< every token lies in [0, vocab_size)
  std::string source;      ///< what was tokenized, for human readers
  std::vector<Document> documents;
};

/// Returns whether the file starts with "QROARTOK".
bool is_token_file(const std::filesystem::path& path);
/// Reads a token file.  Throws an Error if it is malformed, does not match its hash, or repeats an id; with
/// `needs_hash` also if it has no hash.
TokenFile read_token_file(const std::filesystem::path& path, bool needs_hash = false);
/// Writes a token file atomically (temporary file, fsync, rename).
void write_token_file(const std::filesystem::path& path, const TokenFile& file);

}  // namespace qroar
