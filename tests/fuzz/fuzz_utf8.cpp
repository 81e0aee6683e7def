// UTF-8 against a table of its well-formed byte sequences (Unicode 16, table 3-7).
#include "base/utf8.h"
#include "data/texts.h"
#include "fuzz.h"

namespace qroar {
namespace {

std::size_t length_of(std::string_view text) {
  struct Form {
    unsigned char low, high;
    std::size_t length;
    unsigned char second_low, second_high;
  };
  constexpr Form kForms[] = {{0x00, 0x7F, 1, 0, 0},       {0xC2, 0xDF, 2, 0x80, 0xBF}, {0xE0, 0xE0, 3, 0xA0, 0xBF},
                             {0xE1, 0xEC, 3, 0x80, 0xBF}, {0xED, 0xED, 3, 0x80, 0x9F}, {0xEE, 0xEF, 3, 0x80, 0xBF},
                             {0xF0, 0xF0, 4, 0x90, 0xBF}, {0xF1, 0xF3, 4, 0x80, 0xBF}, {0xF4, 0xF4, 4, 0x80, 0x8F}};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (const Form& form : kForms) {
    if (text.size() < form.length || text.empty() || byte(0) < form.low || byte(0) > form.high) continue;
    if (form.length > 1 && (byte(1) < form.second_low || byte(1) > form.second_high)) return 0;
    for (std::size_t i = 2; i < form.length; ++i) {
      if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
    }
    return form.length;
  }
  return 0;
}

}  // namespace

void fuzz_one(std::string_view input) {
  for (std::size_t i = 0; i <= input.size(); ++i)
    must(utf8_length(input.substr(i)) == length_of(input.substr(i)), fmt::format("the character at {}", i));
  std::size_t prefix = 0, characters = 0;
  while (const std::size_t length = length_of(input.substr(prefix))) prefix += length, ++characters;
  must(utf8_prefix(input) == prefix && utf8_characters(input.substr(0, prefix)) == characters, "prefix and characters");
  const bool is_text = prefix == input.size() && input.find('\0') == input.npos;
  must(refuses([&] { decoded_text(std::string(input), "a.txt"); }) == !is_text, "what is no text is refused");
}

}  // namespace qroar
