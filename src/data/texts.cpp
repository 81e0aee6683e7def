#include "data/texts.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/normal_form.h"
#include "base/utf8.h"
#include "base/warn_once.h"
#include "data/spaces.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEveryLine = "every line is one object with \"id\" and \"text\"";
/// An upper limit on the words or bytes of a text; sums of such counts do not overflow.
constexpr uint64_t kMostCounted = 1'000'000'000'000;

/// Counts the pieces between runs of white space as lm-evaluation-harness does: a text that begins with white space has
/// an empty piece before it.
int64_t words_of(std::string_view text) {
  int64_t runs = 0;
  bool in_run = false;
  while (!text.empty()) {
    const auto space = std::ranges::find_if(kSpaces, [&](std::string_view mark) { return text.starts_with(mark); });
    const bool is_space = space != std::end(kSpaces);
    runs += is_space && !in_run;
    in_run = is_space;
    text.remove_prefix(is_space ? space->size() : 1);
  }
  return runs + 1;
}

/// Returns how the user can convert bytes that are not UTF-8 at `place`.
std::string remedy_of(std::string_view bytes, std::size_t place, const std::string& file) {
  using namespace std::string_view_literals;
  const auto starts_with = [&](std::string_view mark) { return bytes.starts_with(mark); };
  const char* encoding = nullptr;
  if (starts_with("\xff\xfe\0\0"sv) || starts_with("\0\0\xfe\xff"sv)) {
    encoding = "utf-32";
  } else if (starts_with("\xff\xfe"sv) || starts_with("\xfe\xff"sv)) {
    encoding = "utf-16";
  } else if (bytes[place] == '\0') {
    const bool many = std::ranges::count(bytes, '\0') > std::ssize(bytes) / 4;
    if (!many) return fmt::format("leave it out: tr -d '\\000' < {} > NEW", file);
    encoding = place % 2 == 1 ? "utf-16le" : "utf-16be";
  }
  if (encoding != nullptr) return fmt::format("convert it: iconv -f {} -t utf-8 {} > NEW", encoding, file);
  return fmt::format(
      "convert it from what it is in (Latin-1: iconv -f latin1 -t utf-8 {0} > NEW), or leave such bytes out: iconv -c "
      "-f utf-8 -t utf-8 {0} > NEW",
      file);
}

/// Returns the count that the line states for the published text, else the count of this text.
int64_t count_of(const Json& line, const char* key, int64_t counted, const std::string& place) {
  if (!line.contains(key)) return counted;
  const Json& count = line[key];
  if (!count.is_number_unsigned() || count < 1 || count > kMostCounted) {
    fail("{}: \"{}\" is {}, not a number of them", place, key,
         count.is_primitive() ? count.dump() : fmt::format("a JSON {}", count.type_name()));
  }
  return count;
}

/// Parses one line of a .jsonl file; a line without an id is named after the file and the line number.
Text parse_line(std::string_view line, const fs::path& file, int64_t number) {
  const std::string place = fmt::format("{}:{}", file.string(), number);
  Json json = parse_json_object(line, {file.string(), number, kEveryLine});
  if (!json.contains("text")) fail("{}: no \"text\"; {}", place, kEveryLine);
  for (const char* key : {"id", "text", "group"}) {
    if (json.contains(key) && !json[key].is_string())
      fail("{}: \"{}\" is a JSON {}, not a string", place, key, json[key].type_name());
  }
  Text text{json.value("id", fmt::format("{}:{}", file.stem().string(), number)),
            std::move(json["text"].get_ref<std::string&>())};
  text.words = count_of(json, "words", words_of(text.text), place);
  text.bytes = count_of(json, "bytes", std::ssize(text.text), place);
  text.group = json.value("group", "");
  if (json.contains("group")) {
    if (const std::string wrong = group_error(text.group); !wrong.empty()) fail("{}: \"group\" {}", place, wrong);
  }
  return text;
}

std::vector<Text> parse_lines(std::string_view bytes, const fs::path& file) {
  const std::size_t last = bytes.find_last_not_of(" \t\r\n");
  bytes = bytes.substr(0, last == std::string_view::npos ? 0 : last + 1);
  std::vector<Text> texts;
  std::map<std::string, int64_t> line_of;
  for (int64_t number = 1; !bytes.empty(); ++number) {
    const std::string_view line = bytes.substr(0, bytes.find('\n'));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
      fail("{}:{}: blank line between documents; remove it", file.string(), number);
    }
    texts.push_back(parse_line(line, file, number));
    const auto [other, fresh] = line_of.emplace(texts.back().id, number);
    if (!fresh) {
      fail("{}:{}: the id '{}' is that of line {}, too; rows are compared by documents, so give each its own",
           file.string(), number, other->first, other->second);
    }
    bytes.remove_prefix(std::min(bytes.size(), line.size() + 1));
  }
  return texts;
}

}  // namespace

std::string group_error(const std::string& group) {
  constexpr const char* kRemedy = "name what the text is a piece of, or leave it out";
  if (group.empty()) return fmt::format("is empty; {}", kRemedy);
  // Names that look alike must be equal: pieces of one book under two of them would count as independent.
  if (!is_visible(group)) return fmt::format("holds a control character or an invisible one; {}", kRemedy);
  const auto has_at_an_end = [&](std::string_view mark) { return group.starts_with(mark) || group.ends_with(mark); };
  if (std::ranges::any_of(kSpaces, has_at_an_end)) return fmt::format("has a space at an end; {}", kRemedy);
  if (normal_form(group, NormalForm::nfc) != group)
    return fmt::format("is not in Unicode's form NFC, in which letters are whole; {}", kRemedy);
  return "";
}

std::string decoded_text(std::string bytes, const fs::path& file) {
  const std::size_t place = std::min(utf8_prefix(bytes), bytes.find('\0'));
  if (place < bytes.size()) {
    fail("{}:{}: the byte 0x{:02x} at offset {} is no UTF-8 text; {}", file.string(),
         1 + std::count(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(place), '\n'),
         static_cast<unsigned char>(bytes[place]), place, remedy_of(bytes, place, file.string()));
  }
  if (bytes.starts_with(kByteOrderMark)) {
    warn_once(fmt::format("{}: the byte order mark in front is left out: it is no part of the text", file.string()));
    bytes.erase(0, kByteOrderMark.size());
  }
  return bytes;
}

std::string read_text(const fs::path& file, std::string* hash) {
  std::string bytes = read_file(file);
  if (hash != nullptr) *hash = hash_bytes(bytes);
  return decoded_text(std::move(bytes), file);
}

std::vector<Text> parse_texts(std::string bytes, const fs::path& file) {
  if (file.extension() != ".jsonl" && file.extension() != ".txt") {
    fail("{}: unknown kind of data file; needed is a .txt or .jsonl file, or one that scripts/tokenize_texts.py made",
         file.string());
  }
  std::string text = decoded_text(std::move(bytes), file);
  if (file.extension() == ".jsonl") return parse_lines(text, file);
  const int64_t words = words_of(text), size = std::ssize(text);
  return {{file.filename().string(), std::move(text), words, size}};
}

}  // namespace qroar
