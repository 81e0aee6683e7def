#include "data/tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/warn_once.h"
#include "data/json_tokenizer.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

class SentencePiece : public Tokenizer {
 public:
  explicit SentencePiece(const fs::path& file) {
    const auto status = processor_.LoadFromSerializedProto(read_file(file));
    if (!status.ok() || processor_.GetPieceSize() == 0) {
      fail("{}: not a SentencePiece model{}{}", file.string(), status.ok() ? "" : ": ", status.message());
    }
    for (int id = 0; id < processor_.GetPieceSize(); ++id) {  // whose order would be anything
      if (!std::isfinite(processor_.GetScore(id)))
        fail("{}: the score of its piece {} is no finite number; copy the file again", file.string(), id);
    }
  }

  // Encodes the complete text in one call: time and memory grow linearly (41 MB: 112 s, 4.2 GB), and separate parts
  // would be tokenized differently at the cuts.
  std::vector<int32_t> encode(const std::string& text) const override {
    std::vector<int32_t> ids;
    const auto status = processor_.Encode(text, &ids);
    if (!status.ok()) fail("SentencePiece could not tokenize a text of {} bytes: {}", text.size(), status.message());
    return ids;
  }
  std::string decode(std::span<const int32_t> ids) const override {
    std::vector<int> known;
    std::ranges::copy_if(ids, std::back_inserter(known), [&](int32_t id) { return id < vocab_size(); });
    std::string text;
    const auto status = processor_.Decode(known, &text);
    if (!status.ok()) fail("SentencePiece could not decode {} tokens: {}", ids.size(), status.message());
    return text;
  }
  int64_t vocab_size() const override { return processor_.GetPieceSize(); }
  bool has_piece(const std::string& text) const {
    const int id = processor_.PieceToId(text);
    return id >= 0 && processor_.IdToPiece(id) == text;
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

std::unique_ptr<const Tokenizer> read_json_tokenizer(const fs::path& file) {
  const Json json = read_json_object(file);
  try {
    return std::make_unique<JsonTokenizer>(json, file.string());
  } catch (const Json::exception& error) {
    fail("{}: not a tokenizer.json of byte-level or SentencePiece BPE: {}", file.string(), error.what());
  }
}

/// Returns whether the file begins with a token in base64, a space and its rank.  A SentencePiece model begins with a
/// newline.
bool is_tiktoken(const fs::path& file) {
  const std::string content = read_file(file), line = content.substr(0, content.find('\n'));
  const std::size_t space = line.find(' ');
  if (space == 0 || space == line.npos || space + 1 == line.size()) return false;
  const auto is_base64 = [](unsigned char c) { return std::isalnum(c) || c == '+' || c == '/' || c == '='; };
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  const auto middle = line.begin() + static_cast<std::ptrdiff_t>(space);
  return std::all_of(line.begin(), middle, is_base64) && std::all_of(middle + 1, line.end(), is_digit);
}

/// Returns whether an entry of that name exists, even a dangling link, which reading then reports.
bool is_there(const fs::path& file) {
  std::error_code unreadable;
  return fs::exists(fs::symlink_status(file, unreadable));
}

/// Returns whether tokenizer.json has tokens that the text may contain ("plain" ones, as people add them) and the
/// SentencePiece model lacks: transformers reads the former.
bool adds_tokens(const fs::path& json, const fs::path& model) {
  const Json tokenizer = read_json_object(json);
  const Json& added = value_at(tokenizer, "/added_tokens");
  std::optional<SentencePiece> pieces;
  return std::ranges::any_of(added, [&](const Json& token) {
    if (!value_at(token, "/content").is_string() || value_at(token, "/special") == true) return false;
    if (!pieces) pieces.emplace(model);
    return !pieces->has_piece(token["content"]);
  });
}

struct ListedToken {
  std::string content;
  fs::path file;
};

/// Returns the plain tokens that transformers adds to a tokenizer from the files beside it.
std::vector<ListedToken> listed_tokens(const fs::path& folder) {
  const fs::path settings = folder / "tokenizer_config.json", older = folder / "added_tokens.json";
  std::vector<ListedToken> listed;
  std::set<std::string> special;  // is text where it is spelled out
  const Json config = try_read_json_object(settings).value_or(Json::object());
  for (const Json& token : value_at(config, "/added_tokens_decoder")) {
    const Json& content = value_at(token, "/content");
    if (!content.is_string()) continue;
    if (value_at(token, "/special") == true) {
      special.insert(content.get<std::string>());
    } else {
      listed.push_back({content, settings});
    }
  }
  const Json tokens = is_there(older) ? read_json_object(older) : Json::object();
  for (const auto& [content, id] : tokens.items()) {
    if (!special.contains(content)) listed.push_back({content, older});
  }
  return listed;
}

/// Warns where files beside the tokenizer's have tokens that it lacks, which transformers adds to it.
void warn_of_added_tokens(const fs::path& tokenizer) {
  const std::vector<ListedToken> listed = listed_tokens(tokenizer.parent_path());
  if (listed.empty()) return;
  const bool is_json = tokenizer.extension() == ".json";
  std::optional<SentencePiece> pieces;
  std::set<std::string> added;
  if (!is_json) pieces.emplace(tokenizer);
  const Json json = is_json ? read_json_object(tokenizer) : Json::object();
  for (const Json& token : value_at(json, "/added_tokens")) {
    if (value_at(token, "/content").is_string()) added.insert(token["content"].get<std::string>());
  }
  for (const auto& [content, file] : listed) {
    if (is_json ? added.contains(content) : pieces->has_piece(content)) continue;
    warn_once(fmt::format("{}: is not read, and adds the token {} to those of {}; where texts contain it, {}",
                          file.string(), excerpt(content), tokenizer.filename().string(),
                          is_json ? "save the tokenizer again with save_pretrained() of transformers, whose "
                                    "tokenizer.json has it"
                                  : "copy the model's tokenizer.json beside it"));
    return;
  }
}

fs::path chosen_file(const fs::path& model_folder) {
  fs::path model = model_folder / "tokenizer.model", json = model_folder / "tokenizer.json";
  const bool has_model = is_there(model), has_json = is_there(json);
  if (has_model && !is_tiktoken(model)) {
    if (has_json) return adds_tokens(json, model) ? json : model;
    return model;
  }
  if (has_json) {
    if (has_model) warn_once(fmt::format("{}: is of tiktoken's format; {} is read", model.string(), json.string()));
    return json;
  }
  if (has_model) {
    fail("{}: is of tiktoken's format, which is not read here; copy the tokenizer.json of the model beside it",
         model.string());
  }
  fail("{}: holds neither tokenizer.model nor tokenizer.json; copy the file from where the model came from",
       model_folder.string());
}

}  // namespace

fs::path tokenizer_file(const fs::path& model_folder) {
  fs::path file = chosen_file(model_folder);
  warn_of_added_tokens(file);
  return file;
}

std::unique_ptr<const Tokenizer> load_tokenizer(const fs::path& model_folder) {
  const fs::path file = tokenizer_file(model_folder);
  if (file.extension() == ".json") return read_json_tokenizer(file);
  return std::make_unique<SentencePiece>(file);
}

std::string tokenizer_hash(const fs::path& model_folder) { return hash_file(tokenizer_file(model_folder)); }

}  // namespace qroar
