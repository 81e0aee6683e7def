#include "data/token_texts.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/utf8.h"
#include "data/byte_names.h"
#include "data/tokenizer_parts.h"

namespace qroar {
namespace {

constexpr const char* kPart = "decoder";

/// Returns the byte that a token such as <0x0A> stands for, or -1.
int byte_of_token(std::string_view name) {
  if (name.size() != 6 || !name.starts_with("<0x") || !name.ends_with('>')) return -1;
  int byte = -1;
  const char* const end = name.data() + 5;
  const auto read = std::from_chars(name.data() + 3, end, byte, 16);
  return read.ec == std::errc() && read.ptr == end ? byte : -1;
}

}  // namespace

TokenTexts::TokenTexts(const Json& decoder, std::vector<std::string> names, bool is_byte_level, const std::string& file)
    : texts_(std::move(names)), is_byte_(texts_.size()) {
  if (!is_byte_level) {
    read_sequence(decoder, file);
    return;
  }
  if (!decoder.is_null()) {
    if (type_of(decoder) != "ByteLevel") refuse(file, kPart, decoder);
    check_keys(file, kPart, decoder, {"add_prefix_space", "trim_offsets", "use_regex"});  // no meaning in decoding
  }
  for (std::string& text : texts_) text = bytes_of_name(text);
}

void TokenTexts::read_sequence(const Json& decoder, const std::string& file) {
  Json parts = type_of(decoder) == "Sequence" ? decoder.at("decoders") : Json::array();
  if (parts.size() == 4 && type_of(parts[3]) == "Strip" && parts[3].at("content") == " " && parts[3].at("stop") == 0) {
    check_keys(file, kPart, parts[3], {"content", "start", "stop"});
    stripped_ = parts[3].at("start");
    parts.erase(3);
  }
  std::vector<std::string> types;
  for (const Json& part : parts) types.push_back(type_of(part));
  if (types != std::vector<std::string>{"Replace", "ByteFallback", "Fuse"}) refuse(file, kPart, decoder);
  check_keys(file, kPart, parts[0], {"pattern", "content"});
  check_keys(file, kPart, parts[1], {});
  check_keys(file, kPart, parts[2], {});
  const std::string from = literal_of(parts[0].at("pattern")), to = parts[0].at("content");
  if (from.empty()) refuse(file, kPart, decoder);
  for (std::size_t id = 0; id < texts_.size(); ++id) {
    const int byte = byte_of_token(texts_[id]);
    is_byte_[id] = byte >= 0;
    texts_[id] = is_byte_[id] ? std::string(1, static_cast<char>(byte)) : replaced(texts_[id], from, to);
  }
}

std::string TokenTexts::text_of(std::span<const int32_t> ids) const {
  std::string text, bytes;
  const auto end_bytes = [&] {
    const bool are_text = utf8_prefix(bytes) == bytes.size();
    for (const char byte : bytes) text += are_text ? std::string(1, byte) : "\ufffd";
    bytes.clear();
  };
  for (const int32_t id : ids) {
    const auto at = static_cast<std::size_t>(id);
    if (at >= texts_.size() || texts_[at].empty()) continue;  // an id beyond the vocabulary; a special token
    if (!is_byte_[at]) end_bytes();
    (is_byte_[at] ? bytes : text) += texts_[at];
  }
  end_bytes();
  return text.substr(std::min({text.find_first_not_of(' '), stripped_, text.size()}));
}

}  // namespace qroar
