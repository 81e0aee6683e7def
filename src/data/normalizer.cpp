#include "data/normalizer.h"

#include "base/error.h"
#include "base/normal_form.h"
#include "base/utf8.h"
#include "data/tokenizer_parts.h"

namespace qroar {
namespace {

constexpr std::size_t kMostSteps = 32;      // six times what families have: each goes over the complete text
constexpr std::size_t kMostGrowth = 32;     // in bytes; a normal form reaches 11
constexpr std::size_t kMostPrepended = 64;  // bytes for what is put before a text, however short that is

constexpr std::pair<const char*, NormalForm> kForms[] = {
    {"NFC", NormalForm::nfc}, {"NFD", NormalForm::nfd}, {"NFKC", NormalForm::nfkc}, {"NFKD", NormalForm::nfkd}};

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++count;
  return count;
}

void check_growth(const std::string& file, std::size_t bytes, std::size_t most) {
  if (bytes > most) {
    fail("{}: its normalizer makes a text more than {} times as long; take the tokenizer.json of the base model", file,
         kMostGrowth);
  }
}

}  // namespace

Normalizer::Normalizer(const Json& normalizer, const std::string& file) {
  if (!normalizer.is_null()) read(normalizer, file);
  if (steps_.size() > kMostSteps) {
    fail("{}: its normalizer has {} steps, more than {}; tokenize with scripts/tokenize_texts.py instead", file,
         steps_.size(), kMostSteps);
  }
}

void Normalizer::read(const Json& normalizer, const std::string& file) {
  constexpr const char* kPart = "normalizer";
  const std::string type = type_of(normalizer);
  if (type == "Sequence") {
    check_keys(file, kPart, normalizer, {"normalizers"});
    for (const Json& part : normalizer.at("normalizers")) read(part, file);
    return;
  }
  if (type == "Prepend") {
    check_keys(file, kPart, normalizer, {"prepend"});
    const std::string before = normalizer.at("prepend");
    steps_.emplace_back([file, before](const std::string& text, std::size_t most) {
      check_growth(file, before.size() + text.size(), most);
      return text.empty() ? text : before + text;
    });
    return;
  }
  if (type == "Replace") {
    check_keys(file, kPart, normalizer, {"pattern", "content"});
    const std::string from = literal_of(normalizer.at("pattern")), to = normalizer.at("content");
    if (from.empty()) refuse(file, kPart, normalizer);
    may_drop_start_ = may_drop_start_ || to.empty() || utf8_length(from) != from.size();
    steps_.emplace_back([file, from, to](const std::string& text, std::size_t most) {
      if (to.size() > from.size()) {
        check_growth(file, text.size() + count_of(text, from) * (to.size() - from.size()), most);
      }
      return replaced(text, from, to);
    });
    return;
  }
  for (const auto& [name, form] : kForms) {
    if (type != name) continue;
    check_keys(file, kPart, normalizer, {});
    steps_.emplace_back([file, form](const std::string& text, std::size_t most) {
      std::string result = normal_form(text, form);
      check_growth(file, result.size(), most);
      return result;
    });
    return;
  }
  refuse(file, kPart, normalizer);
}

std::string Normalizer::normalized(std::string_view text) const {
  const std::size_t most = text.size() * kMostGrowth + kMostPrepended;
  std::string result(text);
  for (const Step& step : steps_) result = step(result, most);
  return result;
}

}  // namespace qroar
