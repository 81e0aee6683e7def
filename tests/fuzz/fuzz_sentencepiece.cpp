// tokenizer.model: SentencePiece's own format, or what is none.  What is read can encode and decode.
#include "base/utf8.h"
#include "data/tokenizer.h"
#include "fuzz.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  scratch().write("model/tokenizer.model", std::string(input));
  const auto tokenizer = load_tokenizer(scratch().folder() / "model");
  must(tokenizer->vocab_size() >= 1, "a token");
  for (const std::string text : {"", "the cab", " \xC3\xA9\xE2\x82\xAC\n\t", "\xE2\x96\x81"}) {
    std::vector<int32_t> ids;
    if (refuses([&] { ids = tokenizer->encode(text); })) continue;
    for (const int32_t id : ids) must(id >= 0 && id < tokenizer->vocab_size(), "an id of the vocabulary");
    refuses([&] { tokenizer->decode(ids); });
  }
}

}  // namespace qroar
