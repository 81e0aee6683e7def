#include "data/byte_bpe.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace qroar {
namespace {

/// GPT-2's pieces: contractions; words, numbers and other runs, each with the space before it; white space.
constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// GPT-2 writes each byte as a printable character: printable bytes as themselves, the others as U+0100 and up.
struct ByteNames {
  std::array<std::string, 256> name_of;
  std::unordered_map<std::string, char> byte_of;

  ByteNames() {
    const auto utf8 = [](int c) {
      return c < 128 ? std::string(1, static_cast<char>(c))
                     : std::string{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    };
    int next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      std::string& name = name_of[static_cast<std::size_t>(byte)];
      name = utf8(printable ? byte : next++);
      byte_of[name] = static_cast<char>(byte);
    }
  }
};
const ByteNames& byte_names() {
  static const ByteNames names;
  return names;
}

std::string name_of_bytes(const std::string& bytes) {
  std::string name;
  for (const char byte : bytes) name += byte_names().name_of[static_cast<unsigned char>(byte)];
  return name;
}

/// Returns the bytes of a token, or its name where that contains other characters.
std::string bytes_of_name(const std::string& name) {
  std::string bytes;
  for (std::size_t i = 0; i < name.size();) {
    const std::size_t length = static_cast<unsigned char>(name[i]) < 0x80 ? 1 : 2;
    const auto byte = byte_names().byte_of.find(name.substr(i, length));
    if (byte == byte_names().byte_of.end()) return name;
    bytes += byte->second;
    i += length;
  }
  return bytes;
}

std::string message_of(int error) {
  std::array<unsigned char, 256> message{};
  pcre2_get_error_message(error, message.data(), message.size());
  return reinterpret_cast<const char*>(message.data());
}

pcre2_code* code_of(const std::shared_ptr<void>& code) { return static_cast<pcre2_code*>(code.get()); }

}  // namespace

PieceRule::PieceRule(const std::string& pattern, bool prefix_space) : prefix_space_(prefix_space) {
  if (pattern.empty()) return;
  int error = 0;
  PCRE2_SIZE place = 0;
  auto* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, &error, &place, nullptr);
  if (code == nullptr) {
    fail("the pattern {} is wrong at {}: {}", excerpt(pattern), place, message_of(error));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  code_ = std::shared_ptr<void>(code, [](void* c) { pcre2_code_free(static_cast<pcre2_code*>(c)); });
}

std::vector<std::string> PieceRule::split(const std::string& piece) const {
  const std::string text = prefix_space_ && !piece.starts_with(' ') ? " " + piece : piece;
  if (code_ == nullptr) return {text};
  // PCRE2 treats U+180E as white space, but Unicode since 6.3 and the original regex engines do not, so it is replaced
  // by another format character of three bytes for matching.
  std::string seen = text;
  for (std::size_t at = 0; (at = seen.find("\u180e", at)) != seen.npos;) seen.replace(at, 3, "\u200b");
  std::vector<std::string> pieces;
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(code_of(code_), nullptr), pcre2_match_data_free);
  std::size_t done = 0;
  const auto add = [&](std::size_t begin, std::size_t end) {
    if (end > begin) pieces.push_back(text.substr(begin, end - begin));
  };
  for (std::size_t from = 0; from < seen.size();) {
    const int found = pcre2_match(code_of(code_), reinterpret_cast<PCRE2_SPTR>(seen.data()), seen.size(), from, 0,
                                  match.get(), nullptr);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      fail("the tokenizer's pattern fails on a piece of {} bytes: {}; tokenize with scripts/tokenize_texts.py instead",
           text.size(), message_of(found));
    }
    const PCRE2_SIZE* place = pcre2_get_ovector_pointer(match.get());
    add(done, place[0]);
    add(place[0], place[1]);
    done = place[1];
    from = std::max(place[1], from + 1);
  }
  add(done, text.size());
  return pieces;
}

namespace {

/// Appends the rules of a pre_tokenizer in order.
void read_rules(const Json& pre, const std::string& file, std::vector<PieceRule>& rules) {
  const Json type = pre.is_object() ? pre.at("type") : pre;
  if (type == "Sequence") {
    for (const Json& part : pre.at("pretokenizers")) read_rules(part, file, rules);
  } else if (type == "ByteLevel") {
    rules.emplace_back(pre.value("use_regex", true) ? kGpt2Pattern : "", pre.value("add_prefix_space", true));
  } else if (type == "Digits") {
    rules.emplace_back(pre.value("individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)");
  } else if (type == "Split" && pre.at("behavior") == "Isolated" && !pre.value("invert", false) &&
             pre.at("pattern").contains("Regex")) {
    rules.emplace_back(pre["pattern"]["Regex"].get<std::string>());
  } else {
    fail("{}: its pre-tokenizer {} is not read here; tokenize with scripts/tokenize_texts.py instead", file,
         pre.dump());
  }
}

}  // namespace

ByteBpe::ByteBpe(const Json& tokenizer, const std::string& file) : bpe_(tokenizer, file) {
  const Json normalizer = tokenizer.value("normalizer", Json());
  const bool does_nothing =
      normalizer.is_null() || (normalizer.at("type") == "Sequence" && normalizer.at("normalizers").empty());
  if (!does_nothing) {
    fail("{}: has the normalizer {}, which is not read here; tokenize with scripts/tokenize_texts.py instead", file,
         normalizer.dump());
  }
  read_rules(tokenizer.at("pre_tokenizer"), file, rules_);
  for (const std::string& name : bpe_.names()) bytes_of_.push_back(bytes_of_name(name));
}

std::vector<int32_t> ByteBpe::encode(const std::string& text) const {
  if (text.empty()) return {};
  std::vector<std::string> pieces{text};
  for (const PieceRule& rule : rules_) {
    std::vector<std::string> finer;
    for (const std::string& piece : pieces) {
      for (std::string& part : rule.split(piece)) finer.push_back(std::move(part));
    }
    pieces = std::move(finer);
  }
  for (std::string& piece : pieces) piece = name_of_bytes(piece);
  return bpe_.encode(pieces);
}

std::string ByteBpe::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    if (id < vocab_size()) text += bytes_of_[static_cast<std::size_t>(id)];  // a model may have more ids
  }
  return text;
}

}  // namespace qroar
