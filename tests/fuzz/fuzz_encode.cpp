// Texts for two good tokenizers: decoding gives the text again, and ids are those of merging one pair after the other.
#include <map>

#include "base/utf8.h"
#include "data/tokenizer.h"
#include "fuzz.h"

namespace qroar {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;
const Merges kMerges{{"a", "b"},  {"a", "a"},  {"b", "c"},   {"aa", "aa"}, {"ab", "c"},     {"t", "h"},
                     {"th", "e"}, {"c", "ab"}, {"aa", "ab"}, {"e", "e"},   {"aaaa", "aaaa"}};

Json pair_list() {
  Json list = Json::array();
  for (const auto& [left, right] : kMerges) list.push_back({left, right});
  return list;
}

/// Loads a tokenizer whose vocabulary is `first`, the letters and what the merges make.
std::unique_ptr<const Tokenizer> load(const std::string& name, Json tokenizer, const std::vector<std::string>& first) {
  Json vocabulary = Json::object();
  const auto add = [&](const std::string& token) { vocabulary.emplace(token, vocabulary.size()); };
  for (const std::string& token : first) add(token);
  for (const auto& [left, right] : kMerges) add(left + right);
  tokenizer["model"].update({{"type", "BPE"}, {"vocab", vocabulary}, {"merges", pair_list()}});
  scratch().write(name + "/tokenizer.json", tokenizer.dump());
  return load_tokenizer(scratch().folder() / name);
}

/// Bytes as GPT-2 writes them, without rules that cut.
std::unique_ptr<const Tokenizer> load_bytes() {
  std::vector<std::string> names;
  const auto utf8 = [](int c) {
    return c < 128 ? std::string(1, static_cast<char>(c))
                   : std::string{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
  };
  int next = 256;
  for (int byte = 0; byte < 256; ++byte)
    names.push_back(utf8((byte > 32 && byte < 127) || (byte > 160 && byte < 173) || byte > 173 ? byte : next++));
  return load("bytes", {{"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}},
              names);
}

std::unique_ptr<const Tokenizer> load_sentencepiece() {
  std::vector<std::string> names{"<unk>", "▁"};
  for (int byte = 0; byte < 256; ++byte) names.push_back(fmt::format("<0x{:02X}>", byte));
  for (const char c : std::string("abcthe")) names.emplace_back(1, c);
  const Json normalizer = Json::parse(R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})");
  const Json decoder =
      Json::parse(R"({"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})");
  return load("sentencepiece",
              {{"normalizer", normalizer},
               {"pre_tokenizer", nullptr},
               {"decoder", decoder},
               {"model", {{"byte_fallback", true}, {"unk_token", "<unk>"}, {"fuse_unk", true}}}},
              names);
}

/// Merges the leftmost pair of the lowest rank until there is none, in the plain way.
std::vector<std::string> merged(const std::string& text) {
  std::vector<std::string> tokens;
  for (const char c : text) tokens.emplace_back(1, c);
  for (std::size_t rank = 0; rank < kMerges.size();) {
    std::size_t i = 0;
    while (i + 1 < tokens.size() && (tokens[i] != kMerges[rank].first || tokens[i + 1] != kMerges[rank].second)) ++i;
    if (i + 1 >= tokens.size()) {
      ++rank;
      continue;
    }
    tokens[i] += tokens[i + 1];
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    rank = 0;
  }
  return tokens;
}

std::string with_spaces(std::string text) {
  for (std::size_t at = 0; (at = text.find("▁", at)) != text.npos;) text.replace(at, 3, " ");
  return text;
}

}  // namespace

void fuzz_one(std::string_view input) {
  static const auto kBytes = load_bytes(), kSentencePiece = load_sentencepiece();
  const std::string text(input);
  for (const auto* tokenizer : {kBytes.get(), kSentencePiece.get()}) {
    for (const int32_t id : tokenizer->encode(text))
      must(id >= 0 && id < tokenizer->vocab_size(), fmt::format("the token {}", id));
  }
  const std::vector<int32_t> ids = kBytes->encode(text);
  must(kBytes->decode(ids) == text, "bytes come back");
  std::vector<std::string> tokens;
  for (const int32_t id : ids) tokens.push_back(kBytes->decode(std::vector{id}));
  must(text.size() > 1000 || tokens == merged(text), "tokens of another order of merges");
  if (utf8_prefix(text) < text.size()) return;
  must(with_spaces(kSentencePiece->decode(kSentencePiece->encode(text))) == with_spaces(text), "the text comes back");
}

}  // namespace qroar
