#include "data/json_tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "data/tokenizer_parts.h"

namespace qroar {
namespace {

/// Returns the name of each id: the vocabulary's and those of plain added tokens; empty for special ones.
std::vector<std::string> names_of(const Bpe& bpe, const std::vector<AddedToken>& added, const std::string& file) {
  std::vector<std::string> names = bpe.names();
  for (const AddedToken& token : added) {
    const auto id = static_cast<std::size_t>(token.id);
    if (names.size() <= id) names.resize(id + 1);
    const auto known = bpe.id_of(token.content);
    if (known ? *known != token.id : !names[id].empty()) {
      fail(
          "{}: the added token {} has the id {}, where its vocabulary has {}; take the tokenizer.json of the base "
          "model",
          file, excerpt(token.content), id, known ? std::to_string(*known) : excerpt(names[id]));
    }
    names[id] = token.content;
  }
  for (const AddedToken& token : added) {
    if (token.is_special) names[static_cast<std::size_t>(token.id)].clear();
  }
  return names;
}

/// Throws an Error for a plain added token with another id than Hugging Face's tokenizers give it, which do not read
/// the ids of new tokens: they count on from the size of the vocabulary or the highest id before.
void check_added_ids(const Json& added, const Bpe& bpe, const std::string& file) {
  auto next = static_cast<int32_t>(bpe.size());
  for (const Json& token : added) {
    const std::string content = token.at("content");
    const int32_t id = bpe.id_of(content).value_or(next);
    if (token.at("id") != Json(id) && !token.value("special", false)) {
      fail(
          "{}: its added token {} has the id {}, and Hugging Face's tokenizers make it {}; take the tokenizer.json of "
          "the base model, or tokenize with scripts/tokenize_texts.py instead",
          file, excerpt(content), token.at("id").dump(), id);
    }
    next = std::max(next, id + 1);
  }
}

/// Throws an Error where a normalizer may move what begins a document to Hugging Face's tokenizers, which look at the
/// place in the text that the first character of a piece comes from.
void check_start(const Normalizer& normalizer, const PreTokenizer& pre_tokenizer, const std::string& file) {
  const bool may_drop = pre_tokenizer.marks_start() && normalizer.may_drop_start();
  if (!may_drop && !(pre_tokenizer.marks_first_piece() && normalizer.has_steps())) return;
  fail(
      "{}: its Metaspace marks what begins a text (prepend_scheme first), and its normalizer changes what that is; "
      "tokenize with scripts/tokenize_texts.py instead",
      file);
}

}  // namespace

JsonTokenizer::JsonTokenizer(const Json& tokenizer, const std::string& file)
    : added_(read_added_tokens(tokenizer, file)),
      normalizer_(tokenizer.value("normalizer", Json()), file),
      in_text_(added_, false, normalizer_, file),
      in_normalized_(added_, true, normalizer_, file),
      pre_tokenizer_(tokenizer.value("pre_tokenizer", Json()), file),
      bpe_(tokenizer.at("model"), added_, file),
      texts_(tokenizer.value("decoder", Json()), names_of(bpe_, added_, file), pre_tokenizer_.is_byte_level(), file) {
  check_keys(file, "object", tokenizer,
             {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
              "decoder", "model"});
  check_added_ids(tokenizer.value("added_tokens", Json::array()), bpe_, file);
  check_start(normalizer_, pre_tokenizer_, file);
}

std::vector<int32_t> JsonTokenizer::encode(const std::string& text) const {
  std::vector<int32_t> ids;
  Bpe::KnownPieces known;
  for (const auto& raw : in_text_.sections(text)) {
    if (raw.id) {
      ids.push_back(*raw.id);
      continue;
    }
    const std::string normal = normalizer_.normalized(raw.text);
    for (const auto& section : in_normalized_.sections(normal)) {
      if (section.id) {
        ids.push_back(*section.id);
        continue;
      }
      const bool at_start = raw.text.data() == text.data() && section.text.data() == normal.data();
      bpe_.encode(pre_tokenizer_.cut(std::string(section.text), at_start), known, ids);
    }
  }
  return ids;
}

}  // namespace qroar
