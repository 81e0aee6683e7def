#include "data/tokenizer_parts.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {

void refuse(const std::string& file, const char* part, const Json& found) {
  fail("{}: its {} {} is not read here; tokenize with scripts/tokenize_texts.py instead", file, part, excerpt(found));
}

void check_keys(const std::string& file, const char* part, const Json& found,
                std::initializer_list<const char*> known) {
  if (!found.is_object()) refuse(file, part, found);
  for (const auto& [key, value] : found.items()) {
    if (key == "type" || std::ranges::find(known, key) != known.end()) continue;
    fail("{}: its {} {} has the key {}, which is not read here; tokenize with scripts/tokenize_texts.py instead", file,
         part, excerpt(found), excerpt(key));
  }
}

std::string type_of(const Json& part) { return part.is_object() ? part.value("type", "") : ""; }

std::string literal_of(const Json& pattern) {
  return pattern.is_object() && pattern.size() == 1 ? pattern.value("String", "") : "";
}

int32_t id_of(const std::string& file, const std::string& token, const Json& id) {
  constexpr uint64_t kMostIds = 1 << 20;  // four times the largest vocabularies
  if (!id.is_number_unsigned() || id >= kMostIds)
    fail("{}: the token {} has the id {}, not a number below {}", file, excerpt(token), excerpt(id), kMostIds);
  return id.get<int32_t>();
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (std::size_t at = text.find(from); at != text.npos; at = text.find(from)) {
    result.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
  }
  return result.append(text);
}

}  // namespace qroar
