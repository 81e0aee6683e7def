// Files of tokens.  An input that begins with { is the JSON header, and behind the byte 0x01 the offsets and tokens: it
// gets the magic, the version and the header's length.  Any other input is the whole file.
#include <cstdint>

#include "base/files.h"
#include "data/token_file.h"
#include "fuzz.h"

namespace qroar {
namespace {

std::string framed(std::string_view input) {
  const auto parts = parts_of(input, 2);
  std::string bytes("QROARTOK\x01\0\0\0", 12);
  for (std::size_t i = 0; i < 4; ++i) bytes += static_cast<char>(parts[0].size() >> (8 * i));
  return bytes + parts[0] + parts[1];
}

}  // namespace

void fuzz_one(std::string_view input) {
  const auto path = scratch().write("d.tok", input.starts_with('{') ? framed(input) : std::string(input));
  const TokenFile file = read_token_file(path);
  must(is_token_file(path), "is_token_file");
  for (const Document& document : file.documents) {
    for (const int32_t token : document.tokens)
      must(token >= 0 && token < file.vocab_size, fmt::format("the token {}", token));
  }
  const auto copy = scratch().folder() / "copy.tok";
  write_token_file(copy, file);
  const TokenFile again = read_token_file(copy, /*needs_hash=*/true);
  must(again.tokenizer == file.tokenizer && again.vocab_size == file.vocab_size && again.source == file.source,
       "the header");
  must(again.documents.size() == file.documents.size(), "the number of documents");
  for (std::size_t i = 0; i < file.documents.size(); ++i) {
    const Document &a = file.documents[i], &b = again.documents[i];
    must(a.id == b.id && a.tokens == b.tokens && a.words == b.words && a.bytes == b.bytes && a.cluster() == b.cluster(),
         "document " + a.id);
  }
  const std::string bytes = read_file(copy);
  write_token_file(copy, again);
  must(read_file(copy) == bytes, "the same file twice");
}

}  // namespace qroar
