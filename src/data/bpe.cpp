#include "data/bpe.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>

#include "base/error.h"
#include "base/utf8.h"
#include "data/tokenizer_parts.h"

namespace qroar {
namespace {

/// Splits a merge that is written as "Ġ t", as in older files.
std::pair<std::string, std::string> halves(const std::string& merge, const std::string& file) {
  const std::size_t space = merge.find(' ');
  if (space == merge.npos) fail("{}: the merge {} is not two tokens", file, excerpt(merge));
  return {merge.substr(0, space), merge.substr(space + 1)};
}

/// Throws an Error for settings of the model that would change ids.
void check_plain(const Json& model, const std::string& file) {
  if (model.value("type", "BPE") != "BPE") {
    fail("{}: its model is {}, not BPE; tokenize with scripts/tokenize_texts.py instead", file, excerpt(model["type"]));
  }
  check_keys(file, "model", model,
             {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback",
              "ignore_merges", "vocab", "merges"});
  const auto is_plain = [](const Json& value) { return value.is_null() || value == Json("") || value == 0.0; };
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!is_plain(model.value(key, Json()))) {
      fail("{}: its model's {} is {}, which is not done here; tokenize with scripts/tokenize_texts.py instead", file,
           key, excerpt(model[key]));
    }
  }
}

}  // namespace

Bpe::Bpe(const Json& model, const std::vector<AddedToken>& added, const std::string& file) {
  check_plain(model, file);
  read_vocabulary(model.at("vocab"), added, file);
  const auto token = [&](const std::string& name) {
    const auto id = id_of(name);
    if (!id) fail("{}: its vocabulary lacks {}", file, excerpt(name));
    return *id;
  };
  if (model.value("byte_fallback", false)) {
    for (int byte = 0; byte < 256; ++byte) byte_tokens_.push_back(token(fmt::format("<0x{:02X}>", byte)));
  }
  const Json unknown = model.value("unk_token", Json());
  if (!unknown.is_null()) unknown_ = token(unknown);
  fuse_unknown_ = model.value("fuse_unk", false);
  ignore_merges_ = model.value("ignore_merges", false);
  read_merges(model.at("merges"), file);
}

std::optional<int32_t> Bpe::id_of(std::string_view token) const {
  const auto id = ids_.find(token);
  return id == ids_.end() ? std::nullopt : std::optional(id->second);
}

void Bpe::read_vocabulary(const Json& vocabulary, const std::vector<AddedToken>& added, const std::string& file) {
  for (const auto& [name, value] : vocabulary.items()) {
    const auto id = static_cast<std::size_t>(qroar::id_of(file, name, value));
    if (names_.size() <= id) names_.resize(id + 1);
    names_[id] = name;
    ids_[name] = static_cast<int32_t>(id);
  }
  special_.resize(names_.size());
  for (const AddedToken& token : added) {
    if (const auto id = id_of(token.content)) special_[static_cast<std::size_t>(*id)] = token.is_special;
  }
}

void Bpe::read_merges(const Json& merges, const std::string& file) {
  const auto token = [&](const std::string& name) {
    const auto id = id_of(name);
    if (!id) fail("{}: a merge names a token {} that is not in the vocabulary", file, excerpt(name));
    return *id;
  };
  int32_t rank = 0;
  for (const Json& merge : merges) {
    const auto [left, right] = merge.is_array()
                                   ? std::pair(merge.at(0).get<std::string>(), merge.at(1).get<std::string>())
                                   : halves(merge.get<std::string>(), file);
    const std::pair pair(token(left), token(right));
    merges_.insert_or_assign(pair, Merge{rank++, token(left + right)});
  }
}

void Bpe::encode(const Pieces& pieces, KnownPieces& known, std::vector<int32_t>& ids) const {
  constexpr std::size_t kMostKnown = 256;  // bytes; longer pieces hardly ever come again
  pieces.each([&](std::string_view piece) {
    if (const auto place = known.find(piece); place != known.end()) {
      for (std::size_t i = 0; i < place->second.count; ++i) ids.push_back(ids[place->second.begin + i]);
      return;
    }
    const std::vector<int32_t> fresh = encode_piece(piece);
    if (piece.size() <= kMostKnown) known.emplace(piece, Place{ids.size(), fresh.size()});
    ids.insert(ids.end(), fresh.begin(), fresh.end());
  });
}

std::vector<int32_t> Bpe::encode_piece(std::string_view piece) const {
  if (ignore_merges_) {
    const auto whole = id_of(piece);
    if (whole && !special_[static_cast<std::size_t>(*whole)]) return {*whole};
  }
  return merged(characters(piece));
}

/// Returns the token of each character, or of each of its bytes, or the unknown token; skips a character that has none.
std::vector<int32_t> Bpe::characters(std::string_view piece) const {
  std::vector<int32_t> ids;
  bool after_unknown = false;
  while (!piece.empty()) {
    const std::string_view character = piece.substr(0, std::max<std::size_t>(1, utf8_length(piece)));
    piece.remove_prefix(character.size());
    const auto id = id_of(character);
    const bool is_known = id || !byte_tokens_.empty();
    if (id) {
      ids.push_back(*id);
    } else if (is_known) {
      for (const char byte : character) ids.push_back(byte_tokens_[static_cast<unsigned char>(byte)]);
    } else if (unknown_ && !(fuse_unknown_ && after_unknown)) {
      ids.push_back(*unknown_);
    }
    after_unknown = !is_known;
  }
  return ids;
}

/// Merges the pair of lowest rank until none is left, the leftmost among equal ranks.  Uses a heap over a linked list,
/// which takes O(n log n), as a text may be a single piece.
std::vector<int32_t> Bpe::merged(const std::vector<int32_t>& characters) const {
  struct Symbol {
    int32_t id;
    int32_t previous, next;
  };
  struct Candidate {
    int32_t rank, left, left_id, right_id, id;
    bool operator>(const Candidate& other) const { return std::tie(rank, left) > std::tie(other.rank, other.left); }
  };
  if (characters.empty()) return {};
  std::vector<Symbol> symbols;
  symbols.reserve(characters.size());
  for (const int32_t id : characters) {
    const auto at = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, at - 1, at + 1});
  }
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
    if (left.id != top.left_id || left.next < 0) continue;  // has since been merged
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

}  // namespace qroar
