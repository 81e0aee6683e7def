// tokenizer.json of any kind, and behind the byte 0x01 a text that its tokenizer encodes and decodes.
#include "data/tokenizer.h"
#include "fuzz.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const auto parts = parts_of(input, 2);
  scratch().write("tokenizer.json", parts[0]);
  const auto tokenizer = load_tokenizer(scratch().folder());
  for (const std::string& text : {parts[1], std::string("It's 12  o'clock, \xce\xb1\xff!")}) {
    std::vector<int32_t> ids;
    if (refuses([&] { ids = tokenizer->encode(text); })) continue;
    for (const int32_t id : ids) must(id >= 0 && id < tokenizer->vocab_size(), fmt::format("the token {}", id));
    tokenizer->decode(ids);
  }
  const std::vector<int32_t> beyond{0, static_cast<int32_t>(std::min<int64_t>(tokenizer->vocab_size(), 1 << 30))};
  tokenizer->decode(beyond);
}

}  // namespace qroar
