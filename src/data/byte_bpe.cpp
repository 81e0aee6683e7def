#include "data/byte_bpe.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <queue>
#include <stdexcept>
#include <tuple>

#include "base/error.h"
#include "base/files.h"

namespace qroar {
namespace {

using Json = nlohmann::json;

/// GPT-2's pieces: contractions, words, numbers and other runs, each with the space before it; white space.
constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// GPT-2 writes each byte as a printable character: these bytes as themselves, the others as U+0100 and following.
std::array<std::string, 256> byte_names() {
  std::array<std::string, 256> names;
  int next = 256;
  const auto utf8 = [](int c) {
    return c < 128 ? std::string(1, static_cast<char>(c))
                   : std::string{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
  };
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    names[static_cast<std::size_t>(byte)] = utf8(printable ? byte : next++);
  }
  return names;
}

/// The bytes of a token that is written with byte_names(); nothing where it has other characters.
std::optional<std::string> bytes_of_name(const std::string& name,
                                         const std::unordered_map<std::string, char>& byte_of) {
  std::string bytes;
  for (std::size_t i = 0; i < name.size();) {
    const std::size_t length = static_cast<unsigned char>(name[i]) < 0x80 ? 1 : 2;
    const auto byte = byte_of.find(name.substr(i, length));
    if (byte == byte_of.end()) return std::nullopt;
    bytes += byte->second;
    i += length;
  }
  return bytes;
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
    std::array<unsigned char, 256> reason{};
    pcre2_get_error_message(error, reason.data(), reason.size());
    fail("the pattern '{}' is wrong at {}: {}", pattern, place, reinterpret_cast<const char*>(reason.data()));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  code_ = std::shared_ptr<void>(code, [](void* c) { pcre2_code_free(static_cast<pcre2_code*>(c)); });
}

std::vector<std::string> PieceRule::split(const std::string& piece) const {
  const std::string text = prefix_space_ && !piece.starts_with(' ') ? " " + piece : piece;
  if (code_ == nullptr) return {text};
  // PCRE2 counts U+180E as white space, Unicode since 6.3 and the patterns' own engines do not: another format
  // character of three bytes is looked at in its place.
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
    if (found < 0) fail("a piece of {} bytes cannot be tokenized (PCRE2 error {})", text.size(), found);
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

/// "Ġ t": how older files write a merge.
std::pair<std::string, std::string> halves(const std::string& merge) {
  const std::size_t space = merge.find(' ');
  if (space == merge.npos) throw std::out_of_range(merge);
  return {merge.substr(0, space), merge.substr(space + 1)};
}

/// The rules of a pre_tokenizer, in order.
void read_rules(const Json& pre, const std::string& file, std::vector<PieceRule>& rules) {
  const std::string type = pre.at("type");
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
    fail("{}: its pre-tokenizer {} is not read here; tokenize with scripts/tokenize.py instead", file, pre.dump());
  }
}

}  // namespace

ByteBpe::ByteBpe(const std::filesystem::path& file) {
  const std::string path = file.string();
  try {
    const Json json = Json::parse(read_file(file));
    const Json& model = json.at("model");
    if (model.value("type", "BPE") != "BPE") {
      fail("{}: its model is {}, not BPE; tokenize with scripts/tokenize.py instead", path, model["type"].dump());
    }
    if (json.contains("normalizer") && !json["normalizer"].is_null()) {
      fail("{}: has a normalizer, which is not read here; tokenize with scripts/tokenize.py instead", path);
    }
    read_rules(json.at("pre_tokenizer"), path, rules_);
    ignore_merges_ = model.value("ignore_merges", false);

    std::unordered_map<std::string, char> byte_of;
    const auto names = byte_names();
    for (std::size_t byte = 0; byte < 256; ++byte) byte_of[names[byte]] = static_cast<char>(byte);
    std::unordered_map<std::string, int32_t> id_of_name;
    const auto add = [&](const std::string& name, int32_t id) {
      if (id < 0 || id > 1 << 24) fail("{}: token '{}' has the id {}", path, name, id);
      if (bytes_of_.size() <= static_cast<std::size_t>(id)) bytes_of_.resize(static_cast<std::size_t>(id) + 1);
      id_of_name[name] = id;
    };
    for (const auto& [name, id] : model.at("vocab").items()) {
      add(name, id.get<int32_t>());
      if (const auto bytes = bytes_of_name(name, byte_of)) {
        id_of_[*bytes] = id;
        bytes_of_[id.get<std::size_t>()] = *bytes;
      }
    }
    for (const Json& added : json.value("added_tokens", Json::array())) {
      const auto id = added.at("id").get<int32_t>();
      add(added.at("content"), id);
      if (!added.value("special", false)) {
        fail(
            "{}: the added token {} is no special one and is cut out of texts first, which is not done here; tokenize "
            "with "
            "scripts/tokenize.py instead",
            path, added["content"].dump());
      }
      id_of_.erase(bytes_of_[static_cast<std::size_t>(id)]);
      bytes_of_[static_cast<std::size_t>(id)].clear();
    }
    int32_t rank = 0;
    for (const Json& merge : model.at("merges")) {
      const auto [left, right] = merge.is_array()
                                     ? std::pair(merge.at(0).get<std::string>(), merge.at(1).get<std::string>())
                                     : halves(merge.get<std::string>());
      merges_.emplace(std::pair(id_of_name.at(left), id_of_name.at(right)), Merge{rank++, id_of_name.at(left + right)});
    }
  } catch (const Json::exception& error) {
    fail("{}: not a tokenizer.json of byte-level BPE: {}", path, error.what());
  } catch (const std::out_of_range&) {
    fail("{}: a merge speaks of a token that is not in the vocabulary", path);
  }
}

/// Always the pair of lowest rank, of equal ones the leftmost, as in Sennrich et al., with a heap over a list.
std::vector<int32_t> ByteBpe::merged(std::string_view piece) const {
  struct Symbol {
    int32_t id;
    int32_t previous, next;
  };
  struct Candidate {
    int32_t rank, left, left_id, right_id, id;
    bool operator>(const Candidate& other) const { return std::tie(rank, left) > std::tie(other.rank, other.left); }
  };
  std::vector<Symbol> symbols;
  for (const char byte : piece) {
    const auto id = id_of_.find(std::string(1, byte));
    if (id == id_of_.end()) continue;  // dropped, as tokenizers does; SmolLM2 lacks some control characters
    const auto at = static_cast<int32_t>(symbols.size());
    symbols.push_back({id->second, at - 1, at + 1});
  }
  if (symbols.empty()) return {};
  symbols.back().next = -1;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto consider = [&](int32_t left) {
    const int32_t right = left < 0 ? -1 : symbols[static_cast<std::size_t>(left)].next;
    if (right < 0) return;
    const int32_t a = symbols[static_cast<std::size_t>(left)].id, b = symbols[static_cast<std::size_t>(right)].id;
    if (const auto merge = merges_.find({a, b}); merge != merges_.end()) {
      heap.push({merge->second.rank, left, a, b, merge->second.id});
    }
  };
  for (int32_t i = 0; i < static_cast<int32_t>(symbols.size()); ++i) consider(i);
  while (!heap.empty()) {
    const Candidate top = heap.top();
    heap.pop();
    Symbol& left = symbols[static_cast<std::size_t>(top.left)];
    if (left.id != top.left_id || left.next < 0) continue;  // merged away meanwhile
    Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    if (right.id != top.right_id) continue;
    left.id = top.id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = top.left;
    consider(left.previous);
    consider(top.left);
  }
  std::vector<int32_t> ids;
  for (int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next)
    ids.push_back(symbols[static_cast<std::size_t>(i)].id);
  return ids;
}

std::vector<int32_t> ByteBpe::encode(const std::string& text) const {
  std::vector<int32_t> ids;
  if (text.empty()) return ids;
  std::vector<std::string> pieces{text};
  for (const PieceRule& rule : rules_) {
    std::vector<std::string> finer;
    for (const std::string& piece : pieces) {
      for (std::string& part : rule.split(piece)) finer.push_back(std::move(part));
    }
    pieces = std::move(finer);
  }
  std::unordered_map<std::string_view, std::vector<int32_t>> known;
  for (const std::string& piece : pieces) {
    const auto [entry, fresh] = known.try_emplace(piece);
    if (fresh) {
      const auto whole_piece = ignore_merges_ ? id_of_.find(piece) : id_of_.end();
      entry->second = whole_piece != id_of_.end() ? std::vector{whole_piece->second} : merged(piece);
    }
    ids.insert(ids.end(), entry->second.begin(), entry->second.end());
  }
  return ids;
}

std::string ByteBpe::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) text += bytes_of_.at(static_cast<std::size_t>(id));
  return text;
}

}  // namespace qroar
