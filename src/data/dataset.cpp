#include "data/dataset.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/host.h"
#include "base/warn_once.h"
#include "data/texts.h"
#include "data/tokenizer.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

/// Embeddings are padded to a round number of rows, rarely by more than this.
constexpr int64_t kMostPadding = 256;
/// Increment this when the same text would result in other tokens, ids or groups.
constexpr int kCacheVersion = 5;

TokenFile tokenize(std::string bytes, const fs::path& path, const fs::path& model_folder, const std::string& hash) {
  const auto tokenizer = load_tokenizer(model_folder);
  TokenFile file{hash, tokenizer->vocab_size(), "", {}};
  for (const Text& text : parse_texts(std::move(bytes), path))
    file.documents.push_back({text.id, tokenizer->encode(text.text), text.words, text.bytes, text.group});
  return file;
}

/// Returns the cached tokens, or nothing when there are none.  An unusable cache only costs time.
std::optional<TokenFile> read_cache(const fs::path& cache, const std::string& tokenizer, const std::string& key) {
  std::error_code unreadable;
  if (!fs::exists(cache, unreadable)) return std::nullopt;
  try {
    TokenFile file = read_token_file(cache, /*needs_hash=*/true);
    if (file.tokenizer == tokenizer && file.source == key) return file;
    spdlog::warn("{}: cached tokens of another tokenizer or text; tokenizing again", cache.string());
  } catch (const Error& error) {
    spdlog::warn("{}; tokenizing again", error.what());
  }
  return std::nullopt;
}

void write_cache(const fs::path& cache, const TokenFile& file) {
  try {
    fs::create_directories(cache.parent_path());
    remove_stale_temporaries(cache.parent_path());
    write_token_file(cache, file);
  } catch (const std::exception& error) {
    spdlog::warn("tokens are not cached and will be made again next time: {}", error.what());
  }
}

TokenFile tokenize_cached(std::string bytes, const std::string& data_hash, const fs::path& path,
                          const fs::path& model_folder) {
  const std::string tokenizer = tokenizer_hash(model_folder);
  // The file's name is part of the key: it decides how the bytes are read and is the id of a .txt document.
  const std::string key =
      hash_bytes(fmt::format("{}\n{}\n{}\n{}", kCacheVersion, tokenizer, data_hash, path.filename().string()));
  const fs::path cache = cache_folder() / "tokens" / (key + ".tok");
  if (auto cached = read_cache(cache, tokenizer, key)) return *std::move(cached);
  TokenFile file = tokenize(std::move(bytes), path, model_folder, tokenizer);
  file.source = key;
  write_cache(cache, file);
  return file;
}

TokenFile read_tokens(const fs::path& path, const fs::path& model_folder) {
  TokenFile file = read_token_file(path);
  const std::string tokenizer = tokenizer_hash(model_folder);
  if (file.tokenizer != tokenizer) {
    fail(
        "{}: its tokens are of a tokenizer with hash {}, the model {} has one with hash {}; make the file again with "
        "scripts/tokenize_texts.py {} TEXT OUT",
        path.string(), file.tokenizer, model_folder.string(), tokenizer, model_folder.string());
  }
  return file;
}

}  // namespace

void check_vocabulary(int64_t vocab_size, const fs::path& model_folder, const LlamaConfig& model) {
  const std::string place = model_folder.string();
  if (vocab_size > model.vocab_size) {
    fail(
        "{}: the tokenizer's vocabulary has {} entries, the model's {}: they do not belong together; use the tokenizer "
        "that came with the model",
        place, vocab_size, model.vocab_size);
  }
  if (vocab_size < model.vocab_size - kMostPadding) {
    warn_once(fmt::format(
        "{}: the tokenizer's vocabulary has {} entries, the model's {}: the {} beyond are taken for padding of the "
        "embeddings; if this is not the tokenizer that came with the model, the numbers mean nothing",
        place, vocab_size, model.vocab_size, model.vocab_size - vocab_size));
  }
}

Dataset choose_documents(const Dataset& corpus, const DataSpec& spec) {
  std::vector<Document> all = corpus.documents;
  const std::string path = spec.path.string();
  if (all.empty()) fail("{}: holds no documents", path);
  const auto length = [](const Document& document) { return std::ssize(document.tokens); };
  const Document& longest = *std::ranges::max_element(all, {}, length);
  const std::string longest_text = fmt::format("the longest, '{}', has {}", longest.id, length(longest));
  for (const Document& document : all) {
    if (document.tokens.empty()) fail("{}: document '{}' is empty (no tokens); remove it", path, document.id);
  }

  const int64_t count = std::ssize(all);
  std::erase_if(all, [&](const Document& document) { return length(document) < spec.min_tokens; });
  const int64_t passing = std::ssize(all);
  if (passing == 0) {
    fail("{}: all {} documents are shorter than data.min_tokens {}; {}; lower it", path, count, spec.min_tokens,
         longest_text);
  }
  const int64_t wanted = std::max<int64_t>(spec.documents, 1);
  if (spec.skip > passing - wanted) {
    fail(
        "{}: data.documents {} after data.skip {} is more than there are: {} of {} documents have at least "
        "data.min_tokens {} tokens; ask for fewer",
        path, wanted, spec.skip, passing, count, spec.min_tokens);
  }
  all.erase(all.begin(), all.begin() + spec.skip);
  if (spec.documents > 0) all.resize(spec.documents);
  for (Document& document : all) {
    if (spec.max_tokens == 0 || length(document) <= spec.max_tokens) continue;
    document.tokens.resize(static_cast<std::size_t>(spec.max_tokens));
    document.words = document.bytes = 0;  // unknown: they counted the complete text
  }
  return {std::move(all), corpus.hash};
}

Dataset as_read_by(const WindowRule& rule, Dataset data, int64_t bos_token_id) {
  std::vector<Document>& documents = data.documents;
  if (rule.concatenate) {
    Document& all = documents.front();
    const bool counted = std::ranges::all_of(documents, [](const Document& document) { return document.bytes > 0; });
    for (std::size_t i = 1; i < documents.size(); ++i) {
      all.tokens.insert(all.tokens.end(), documents[i].tokens.begin(), documents[i].tokens.end());
      all.words += documents[i].words;
      all.bytes += documents[i].bytes;
    }
    if (!counted) all.words = all.bytes = 0;
    if (documents.size() > 1) all.id = fmt::format("{} and {} more", all.id, documents.size() - 1);
    all.group.clear();  // windows run across the joints, so that this one document is one cluster
    documents.resize(1);
  }
  if (rule.feed.bos == Bos::start || rule.feed.bos == Bos::replace) {
    for (Document& document : documents)
      document.tokens.insert(document.tokens.begin(), static_cast<int32_t>(bos_token_id));
  }
  return data;
}

DataSpec::DataSpec(const Config& config)
    : path(config.at("path").as_path()),
      documents(config.get<int64_t>("documents", 0, Range<int64_t>{.low = 0})),
      min_tokens(config.get<int64_t>("min_tokens", 1, Range<int64_t>{.low = 1})),
      skip(config.get<int64_t>("skip", 0, Range<int64_t>{.low = 0})),
      max_tokens(config.get<int64_t>("max_tokens", 0, Range<int64_t>{.low = 0})) {
  config.read_name();
}

void check_present(const fs::path& file) {
  std::error_code unreadable;
  const std::string path = file.string(), packed = path + ".xz";
  if (file.extension() == ".xz") fail("{0}: is compressed; unpack it with: xz -dk {0}", path);
  if (fs::exists(file, unreadable)) return;
  if (fs::exists(packed, unreadable))
    fail("{}: not found, but {} is there; unpack it with: xz -dk {}", path, packed, packed);
  fail("{}: no such file; a relative path counts from the working directory or from the file that names it", path);
}

DataSpec read_data_spec(const Config& config) {
  DataSpec spec(config);
  try {
    check_present(spec.path);
  } catch (const Error& error) {
    config.at("path").fail(error.what());
  }
  return spec;
}

Dataset load_corpus(const fs::path& path, const fs::path& model_folder, const LlamaConfig& model) {
  check_present(path);
  Dataset corpus;
  TokenFile file;
  if (is_token_file(path)) {
    corpus.hash = hash_file(path);
    file = read_tokens(path, model_folder);
  } else {
    std::string bytes = read_file(path);
    corpus.hash = hash_bytes(bytes);
    file = tokenize_cached(std::move(bytes), corpus.hash, path, model_folder);
  }
  check_vocabulary(file.vocab_size, model_folder, model);
  corpus.documents = std::move(file.documents);
  return corpus;
}

}  // namespace qroar
