#include "base/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace qroar {
namespace {

using Code = utf8proc_int32_t;

bool is_ascii(char byte) { return static_cast<unsigned char>(byte) < 0x80; }

/// utf8proc's constants are of an unscoped enum, whose members do not combine to another of its values.
utf8proc_option_t options_of(NormalForm form) {
  const bool composes = form == NormalForm::nfc || form == NormalForm::nfkc;
  const bool is_compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const int options = UTF8PROC_STABLE | (composes ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
  return static_cast<utf8proc_option_t>(options | (is_compatible ? UTF8PROC_COMPAT : 0));
}

/// Appends the code points that one decomposes to.
void decompose(Code code, utf8proc_option_t options, std::vector<Code>& codes) {
  std::array<Code, 32> parts;  // 18 at most: Unicode promises to add none that is longer
  int boundary = 0;
  const auto count =
      utf8proc_decompose_char(code, parts.data(), static_cast<utf8proc_ssize_t>(parts.size()), options, &boundary);
  check(count >= 0 && count <= std::ssize(parts), "a character decomposes to few others");
  codes.insert(codes.end(), parts.begin(), parts.begin() + count);
}

/// Brings the marks behind each letter into the order of their classes.  utf8proc_decompose() would do so by swapping
/// neighbours, which takes hours for a text that is nothing but marks.
void sort_marks(std::vector<Code>& codes) {
  const auto class_of = [](Code code) { return utf8proc_get_property(code)->combining_class; };
  const auto is_mark = [&](Code code) { return class_of(code) != 0; };
  for (auto begin = codes.begin(); begin != codes.end();) {
    begin = std::find_if(begin, codes.end(), is_mark);
    const auto end = std::find_if_not(begin, codes.end(), is_mark);
    std::vector<std::tuple<int, std::ptrdiff_t, Code>> marks;  // class, place, code: equal classes keep their order
    for (auto mark = begin; mark != end; ++mark) marks.emplace_back(class_of(*mark), mark - begin, *mark);
    std::ranges::sort(marks);
    for (const auto& [own_class, place, code] : marks) *begin++ = code;
  }
}

/// Appends the normal form of a valid text.  `codes` is only reused memory.
void append(std::string_view text, utf8proc_option_t options, std::vector<Code>& codes, std::string& result) {
  codes.clear();
  while (!text.empty()) {
    Code code = 0;
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                         static_cast<utf8proc_ssize_t>(text.size()), &code);
    check(length > 0, "the text is valid UTF-8");
    decompose(code, options, codes);
    text.remove_prefix(static_cast<std::size_t>(length));
  }
  sort_marks(codes);
  auto count = std::ssize(codes);
  if ((options & UTF8PROC_COMPOSE) != 0) count = utf8proc_normalize_utf32(codes.data(), count, options);
  check(count >= 0, "utf8proc composes");
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    std::array<utf8proc_uint8_t, 4> bytes;
    const auto length = utf8proc_encode_char(codes[i], bytes.data());
    result.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(length));
  }
}

}  // namespace

// ASCII is its own normal form and composes with nothing before it, so that most of a text is only copied: all but runs
// of other characters with the one before, with which their first one may compose.
std::string normal_form(std::string_view text, NormalForm form) {
  const utf8proc_option_t options = options_of(form);
  std::string result;
  std::vector<Code> codes;
  while (!text.empty()) {
    const auto other = std::find_if_not(text.begin(), text.end(), is_ascii);
    const auto plain = static_cast<std::size_t>(other - text.begin());
    const std::size_t copied = other == text.end() || plain == 0 ? plain : plain - 1;
    result.append(text.substr(0, copied));
    text.remove_prefix(copied);
    if (text.empty()) break;
    const auto end = std::find_if(text.begin() + (plain == copied ? 0 : 1), text.end(), is_ascii);
    const std::string_view run = text.substr(0, static_cast<std::size_t>(end - text.begin()));
    const std::size_t valid = utf8_prefix(run), done = std::min(run.size(), valid + (valid < run.size() ? 1 : 0));
    append(run.substr(0, valid), options, codes, result);
    result.append(run.substr(valid, done - valid));
    text.remove_prefix(done);
  }
  return result;
}

}  // namespace qroar
