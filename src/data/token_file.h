// Pre-tokenized documents on disk, little-endian: "QROARTOK", u32 version (1), u32 bytes of the JSON header, the header
// {"hash": digits, "tokenizer": hash, "vocab_size": n, "source": text, "ids": [..], "words": [..], "bytes": [..]},
// int64 offsets[documents + 1], int32 tokens[offsets.back()].  words and bytes may be missing, and so may the hash: the
// XXH3 128-bit (base/files.h) of the file with these 32 digits as zeros.  scripts/tokenize_texts.py writes the same
// format; the file is untrusted input and every count, offset and token is checked.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace qroar {

struct Document {
  std::string id;
  std::vector<int32_t> tokens;   ///< text tokens, no BOS
  int64_t words = 0, bytes = 0;  ///< of the text as it was published, bytes in UTF-8; 0: not known
};

struct TokenFile {
  std::string tokenizer;   ///< hash (base/files.h) of the tokenizer file that made the tokens
  int64_t vocab_size = 0;  ///< every token lies in [0, vocab_size)
  std::string source;      ///< what was tokenized, for people
  std::vector<Document> documents;
};

/// Does the file start with the magic?
bool is_token_file(const std::filesystem::path& path);
/// An Error for a file that is broken, is not what its hash says, or has one id twice; with `needs_hash` for one
/// without a hash, too.
TokenFile read_token_file(const std::filesystem::path& path, bool needs_hash = false);
/// Atomic: temporary file, fsync, rename.
void write_token_file(const std::filesystem::path& path, const TokenFile& file);

}  // namespace qroar
