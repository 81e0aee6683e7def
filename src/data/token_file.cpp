#include "data/token_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <map>
#include <span>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "data/texts.h"

namespace qroar {
namespace {

static_assert(std::endian::native == std::endian::little, "the file's numbers are copied as they are");

constexpr std::string_view kMagic = "QROARTOK";
constexpr uint32_t kVersion = 1;
constexpr std::string_view kZeros = "00000000000000000000000000000000";  // until the hash's digits are known
constexpr const char* kRemedy = "make it again with scripts/tokenize_texts.py";

/// Reads numbers from the front of the bytes and never past their end.
class Reader {
 public:
  Reader(std::string_view bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {}

  std::string_view take(uint64_t size, const char* what) {
    if (size > bytes_.size()) {
      bad(fmt::format("{} needs {} bytes but {} are left: truncated?", what, size, bytes_.size()));
    }
    const std::string_view front = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return front;
  }

  template <class T>
  std::vector<T> take_numbers(uint64_t count, const char* what) {
    const std::string_view bytes = take(count * sizeof(T), what);
    std::vector<T> numbers(count);
    std::ranges::copy(bytes, reinterpret_cast<char*>(numbers.data()));
    return numbers;
  }

  uint64_t left() const { return bytes_.size(); }
  JsonSource header() const { return {file_ + ": header", 1, kRemedy}; }

  [[noreturn]] void bad(const std::string& what) const { fail("{}: {}; {}", file_, what, kRemedy); }

 private:
  std::string_view bytes_;
  std::string file_;
};

struct Header {
  TokenFile file;
  std::string hash;
  std::vector<std::string> ids, groups;
  std::vector<int64_t> words, bytes;
};

/// Returns a count in the header.  Throws an Error if it is not one.
int64_t natural(const Reader& reader, const Json& number, const char* key) {
  constexpr uint64_t kMost = 1'000'000'000'000;  // sums of such counts do not overflow
  if (!number.is_number_unsigned() || number > kMost) {
    reader.bad(fmt::format("the header's {} is or holds {}, no whole number", key,
                           number.is_primitive() ? number.dump() : number.type_name()));
  }
  return number;
}

/// Returns one number per document; zeros where the header has none.
std::vector<int64_t> naturals(const Reader& reader, const Json& header, const char* key, std::size_t count) {
  if (!header.contains(key)) return std::vector<int64_t>(count, 0);
  const Json& list = header[key];
  if (!list.is_array() || list.size() != count) {
    reader.bad(fmt::format("the header's {} are not as many as its ids, {}", key, count));
  }
  std::vector<int64_t> numbers;
  for (const Json& number : list) numbers.push_back(natural(reader, number, key));
  return numbers;
}

/// Returns one group per document; empty ones where the header has none.
std::vector<std::string> groups_of(const Reader& reader, const Json& header, const std::vector<std::string>& ids) {
  if (!header.contains("groups")) return std::vector<std::string>(ids.size());
  const Json& list = header["groups"];
  if (!list.is_array() || list.size() != ids.size())
    reader.bad(fmt::format("the header's groups are not as many as its ids, {}", ids.size()));
  for (const Json& group : list) {
    const std::string wrong = group.is_string() ? group_error(group) : "is no string";
    if (!wrong.empty()) reader.bad(fmt::format("a group in the header {}", wrong));
  }
  return list;
}

Header parse_header(const Reader& reader, std::string_view text) {
  const Json json = parse_json_object(text, reader.header());
  Header header;
  try {
    header.hash = json.value("hash", "");
    json.at("tokenizer").get_to(header.file.tokenizer);
    json.at("source").get_to(header.file.source);
    json.at("ids").get_to(header.ids);
    header.words = naturals(reader, json, "words", header.ids.size());
    header.bytes = naturals(reader, json, "bytes", header.ids.size());
    header.groups = groups_of(reader, json, header.ids);
    header.file.vocab_size = natural(reader, json.at("vocab_size"), "vocab_size");
  } catch (const Json::exception& error) {
    reader.bad(fmt::format("the JSON header is wrong ({})", error.what()));
  }
  return header;
}

/// Throws an Error unless the file has the hash that its header states, in 32 digits anywhere in the header.
void check_hash(const Reader& reader, std::string content, const std::string& stated) {
  const std::size_t place = stated.size() == kZeros.size() ? content.find(stated) : content.npos;
  if (place != content.npos) content.replace(place, kZeros.size(), kZeros);
  const std::string found = hash_bytes(content);
  if (found != stated) reader.bad(fmt::format("its contents have the hash {}, its header says {}", found, stated));
}

void check_ids(const Reader& reader, const std::vector<std::string>& ids) {
  std::map<std::string_view, std::size_t> number_of;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto [other, fresh] = number_of.emplace(ids[i], i + 1);
    if (!fresh)
      reader.bad(fmt::format("documents {} and {} have the same id '{}', and rows are compared by it", other->second,
                             i + 1, ids[i]));
  }
}

/// Throws an Error unless the offsets start at 0, never decrease, and end at the number of tokens in the file.
void check_offsets(const Reader& reader, const std::vector<int64_t>& offsets, uint64_t token_bytes) {
  if (offsets.front() != 0) reader.bad(fmt::format("the first offset is {}, not 0", offsets.front()));
  const auto fall = std::ranges::is_sorted_until(offsets);
  if (fall != offsets.end()) {
    reader.bad(
        fmt::format("offset {} is {}, less than the one before it ({})", fall - offsets.begin(), *fall, *(fall - 1)));
  }
  if (token_bytes % sizeof(int32_t) != 0 || static_cast<uint64_t>(offsets.back()) != token_bytes / sizeof(int32_t)) {
    reader.bad(fmt::format("the last offset says {} tokens of 4 bytes but {} bytes follow: truncated?", offsets.back(),
                           token_bytes));
  }
}

std::string_view bytes_of(const auto& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(numbers[0])};
}

}  // namespace

bool is_token_file(const std::filesystem::path& path) {
  std::string start(kMagic.size(), '\0');
  std::ifstream(path, std::ios::binary).read(start.data(), std::ssize(start));
  return start == kMagic;
}

TokenFile read_token_file(const std::filesystem::path& path, bool needs_hash) {
  const std::string content = read_file(path);
  Reader reader(content, path.string());
  if (!content.starts_with(kMagic))
    fail("{}: not a token file: it does not start with {}; {}", path.string(), kMagic, kRemedy);
  reader.take(kMagic.size(), "the magic");
  const uint32_t version = reader.take_numbers<uint32_t>(1, "the version")[0];
  if (version != kVersion)
    reader.bad(fmt::format("is of version {}, this program reads version {}", version, kVersion));
  const uint32_t header_size = reader.take_numbers<uint32_t>(1, "the header's size")[0];
  auto [file, hash, ids, groups, words, bytes] = parse_header(reader, reader.take(header_size, "the JSON header"));

  const auto offsets = reader.take_numbers<int64_t>(ids.size() + 1, "the table of offsets");
  check_offsets(reader, offsets, reader.left());
  const auto tokens = reader.take_numbers<int32_t>(offsets.back(), "the tokens");
  if (hash.empty() && needs_hash) reader.bad("states no hash of its contents");
  if (!hash.empty()) check_hash(reader, content, hash);
  check_ids(reader, ids);
  for (std::size_t document = 0; document < ids.size(); ++document) {
    const std::span part(tokens.begin() + offsets[document], tokens.begin() + offsets[document + 1]);
    const auto stray = std::ranges::find_if(part, [&](int32_t token) { return token < 0 || token >= file.vocab_size; });
    if (stray != part.end()) {
      reader.bad(fmt::format("document '{}' has the token {}, outside the vocabulary of {}", ids[document], *stray,
                             file.vocab_size));
    }
    file.documents.push_back({std::move(ids[document]),
                              {part.begin(), part.end()},
                              words[document],
                              bytes[document],
                              std::move(groups[document])});
  }
  return file;
}

void write_token_file(const std::filesystem::path& path, const TokenFile& file) {
  Json header = {{"hash", kZeros},  // first, so that no id precedes these zeros
                 {"tokenizer", file.tokenizer},
                 {"vocab_size", file.vocab_size},
                 {"source", file.source}};
  for (const char* key : {"ids", "words", "bytes"}) header[key] = Json::array();
  const bool grouped =
      std::ranges::any_of(file.documents, [](const Document& document) { return document.cluster() != document.id; });
  std::vector<int64_t> offsets = {0};
  for (const Document& document : file.documents) {
    if (grouped) header["groups"].push_back(document.cluster());
    header["ids"].push_back(document.id);
    header["words"].push_back(document.words);
    header["bytes"].push_back(document.bytes);
    offsets.push_back(offsets.back() + std::ssize(document.tokens));
  }
  // JSON must be UTF-8, but a file name need not be.
  const std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  const std::vector<uint32_t> sizes = {kVersion, static_cast<uint32_t>(text.size())};

  std::string bytes(kMagic);
  bytes.append(bytes_of(sizes)).append(text).append(bytes_of(offsets));
  for (const Document& document : file.documents) bytes.append(bytes_of(document.tokens));
  bytes.replace(bytes.find(kZeros), kZeros.size(), hash_bytes(bytes));
  write_file_atomically(path, bytes);
}

}  // namespace qroar
