#include "data/sentencepiece_bpe.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"

namespace qroar {
namespace {

[[noreturn]] void refuse(const std::string& file, const char* what, const Json& found) {
  fail(
      "{}: its {} {} is not read here; copy the base model's tokenizer.model beside it, or tokenize with "
      "scripts/tokenize_texts.py",
      file, what, found.dump());
}

/// Returns the text of {"String": ...}, or null if it is empty or the pattern is a regular expression.
Json text_of(const Json& pattern) {
  const Json text = pattern.value("String", Json());
  return text.is_string() && text != Json("") ? text : Json();
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (std::size_t at = text.find(from); at != text.npos; at = text.find(from)) {
    result.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
  }
  return result.append(text);
}

}  // namespace

SentencePieceBpe::SentencePieceBpe(const Json& tokenizer, const std::string& file) : bpe_(tokenizer, file) {
  read_normalizer(tokenizer.value("normalizer", Json()), file);
  read_pre_tokenizer(tokenizer.value("pre_tokenizer", Json()), file);
  read_decoder(tokenizer.value("decoder", Json()), file);
}

void SentencePieceBpe::read_normalizer(const Json& normalizer, const std::string& file) {
  if (normalizer.is_null()) return;
  const std::string type = normalizer.at("type");
  if (type == "Sequence") {
    for (const Json& part : normalizer.at("normalizers")) read_normalizer(part, file);
  } else if (type == "Prepend") {
    steps_.push_back({Step::prepend, "", normalizer.at("prepend")});
  } else if (type == "Replace" && !text_of(normalizer.at("pattern")).is_null()) {
    steps_.push_back({Step::replace, text_of(normalizer["pattern"]), normalizer.at("content")});
  } else {
    refuse(file, "normalizer", normalizer);
  }
}

void SentencePieceBpe::read_pre_tokenizer(const Json& pre_tokenizer, const std::string& file) {
  if (pre_tokenizer.is_null()) return;
  // Files from before 2024 use add_prefix_space, whose value false is combined with schemes that contradict its name.
  if (pre_tokenizer.at("type") != "Metaspace" || !pre_tokenizer.value("add_prefix_space", true))
    refuse(file, "pre-tokenizer", pre_tokenizer);
  const std::string mark = pre_tokenizer.at("replacement");
  const std::string scheme = pre_tokenizer.value("prepend_scheme", "always");
  steps_.push_back({Step::replace, " ", mark});
  if (scheme == "always" || scheme == "first") {  // the same unless a text is split into sections
    steps_.push_back({Step::prepend_unless_there, "", mark});
  } else if (scheme != "never") {
    refuse(file, "pre-tokenizer", pre_tokenizer);
  }
  if (pre_tokenizer.value("split", true)) cut_before_ = mark;
}

void SentencePieceBpe::read_decoder(const Json& decoder, const std::string& file) {
  const Json parts = decoder.is_object() ? decoder.value("decoders", Json::array()) : Json::array();
  std::vector<std::string> types;
  for (const Json& part : parts) types.push_back(part.at("type"));
  const bool strips = types.size() == 4 && types[3] == "Strip";
  if (strips) {
    stripped_ = parts[3].at("start");
    types.pop_back();
  }
  if (types != std::vector<std::string>{"Replace", "ByteFallback", "Fuse"} ||
      text_of(parts[0].at("pattern")).is_null() ||
      (strips && (parts[3].at("content") != " " || parts[3].at("stop") != 0))) {
    refuse(file, "decoder", decoder);
  }
  const std::string from = text_of(parts[0]["pattern"]), to = parts[0].at("content");
  for (const std::string& name : bpe_.names()) text_of_.push_back(replaced(name, from, to));
  is_byte_.resize(text_of_.size());
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const auto id = static_cast<std::size_t>(bpe_.byte_tokens()[byte]);
    is_byte_[id] = true;
    text_of_[id] = static_cast<char>(byte);
  }
}

std::vector<int32_t> SentencePieceBpe::encode(const std::string& text) const {
  if (text.empty()) return {};
  std::string rest = text;
  for (const Step& step : steps_) {
    if (step.kind == Step::replace) {
      rest = replaced(rest, step.from, step.to);
    } else if (step.kind == Step::prepend || !rest.starts_with(step.to)) {
      rest.insert(0, step.to);
    }
  }
  if (cut_before_.empty()) return bpe_.encode({rest});
  std::vector<std::string> pieces;
  for (std::size_t begin = 0; begin < rest.size();) {
    const std::size_t end = std::min(rest.find(cut_before_, begin + 1), rest.size());
    pieces.push_back(rest.substr(begin, end - begin));
    begin = end;
  }
  return bpe_.encode(pieces);
}

std::string SentencePieceBpe::decode(std::span<const int32_t> ids) const {
  std::string text, bytes;
  const auto end_bytes = [&] {
    const bool are_text = utf8_prefix(bytes) == bytes.size();
    for (const char byte : bytes) text += are_text ? std::string(1, byte) : "\ufffd";
    bytes.clear();
  };
  for (const int32_t id : ids) {
    const auto at = static_cast<std::size_t>(id);
    if (at >= text_of_.size() || text_of_[at].empty()) continue;  // an id beyond the vocabulary; a special token
    if (!is_byte_[at]) end_bytes();
    (is_byte_[at] ? bytes : text) += text_of_[at];
  }
  end_bytes();
  return text.substr(std::min({text.find_first_not_of(' '), stripped_, text.size()}));
}

}  // namespace qroar
