#include "data/dataset.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "data/tokenizer.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

/// Embeddings are padded to a round number of rows, seldom by more than this.
constexpr int64_t kMostPadding = 256;
/// Counts up when the same text would give other tokens or ids.
constexpr int kCacheVersion = 2;

struct Text {
  std::string id;
  std::string text;
  int64_t words = 0, bytes = 0;
};

/// What Python's \s matches in a text, in UTF-8.
constexpr std::string_view kSpaces[] = {" ",      "\t",     "\n",     "\r",     "\f",     "\v",     "\x1c",   "\x1d",
                                        "\x1e",   "\x1f",   "\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002",
                                        "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
                                        "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};

/// Pieces between runs of white space, as lm-evaluation-harness counts them: a text that begins with one has an empty
/// piece before it.
int64_t words_of(std::string_view text) {
  int64_t runs = 0;
  bool in_run = false;
  while (!text.empty()) {
    const auto space = std::ranges::find_if(kSpaces, [&](std::string_view mark) { return text.starts_with(mark); });
    const bool is_space = space != std::end(kSpaces);
    runs += is_space && !in_run;
    in_run = is_space;
    text.remove_prefix(is_space ? space->size() : 1);
  }
  return runs + 1;
}

/// Of a text that is what was published.
Text counted(Text text) {
  if (text.words == 0) text.words = words_of(text.text);
  if (text.bytes == 0) text.bytes = std::ssize(text.text);
  return text;
}

/// The text of one line of a .jsonl file; a line without an id is named after the file and its number.
Text parse_line(std::string_view line, const fs::path& path, int64_t number) {
  const std::string place = fmt::format("{}:{}", path.string(), number);
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(line);
  } catch (const nlohmann::json::parse_error& error) {
    fail("{}:{}: broken JSON; every line is one object with \"id\" and \"text\"", place, error.byte);
  }
  if (!json.is_object())
    fail("{}: is a JSON {}; every line is one object with \"id\" and \"text\"", place, json.type_name());
  if (!json.contains("text")) fail("{}: no \"text\"; every line is one object with \"id\" and \"text\"", place);
  for (const char* key : {"id", "text"}) {
    if (json.contains(key) && !json[key].is_string())
      fail("{}: \"{}\" is a JSON {}, not a string", place, key, json[key].type_name());
  }
  Text text{json.value("id", fmt::format("{}:{}", path.stem().string(), number)),
            std::move(json["text"].get_ref<std::string&>())};
  for (const auto& [key, count] : {std::pair("words", &text.words), std::pair("bytes", &text.bytes)}) {
    if (!json.contains(key)) continue;
    if (!json[key].is_number_integer() || json[key] < 1)
      fail("{}: \"{}\" is {}, not a number of them", place, key, json[key].dump());
    *count = json[key];
  }
  return counted(std::move(text));
}

std::vector<Text> parse_lines(std::string_view bytes, const fs::path& path) {
  const std::size_t last = bytes.find_last_not_of(" \t\r\n");
  bytes = bytes.substr(0, last == std::string_view::npos ? 0 : last + 1);
  std::vector<Text> texts;
  for (int64_t number = 1; !bytes.empty(); ++number) {
    const std::string_view line = bytes.substr(0, bytes.find('\n'));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
      fail("{}:{}: blank line between documents; remove it", path.string(), number);
    }
    texts.push_back(parse_line(line, path, number));
    bytes.remove_prefix(std::min(bytes.size(), line.size() + 1));
  }
  return texts;
}

std::vector<Text> read_texts(std::string bytes, const fs::path& path) {
  if (path.extension() == ".jsonl") return parse_lines(bytes, path);
  if (path.extension() == ".txt") return {counted({path.filename().string(), std::move(bytes)})};
  fail("{}: unknown kind of data file; needed is a .txt or .jsonl file, or one that scripts/tokenize.py made",
       path.string());
}

void check_vocabulary(int64_t vocab_size, const fs::path& model_folder, const LlamaConfig& model) {
  if (vocab_size > model.vocab_size || vocab_size < model.vocab_size - kMostPadding) {
    fail(
        "{}: the tokenizer's vocabulary has {} entries, the model's {}: they do not belong together; use the tokenizer "
        "that came with "
        "the model",
        model_folder.string(), vocab_size, model.vocab_size);
  }
}

TokenFile tokenize(std::string bytes, const fs::path& path, const fs::path& model_folder, const std::string& hash) {
  const auto tokenizer = load_tokenizer(model_folder);
  TokenFile file{hash, tokenizer->vocab_size(), path.filename().string(), {}};
  for (const Text& text : read_texts(std::move(bytes), path))
    file.documents.push_back({text.id, tokenizer->encode(text.text), text.words, text.bytes});
  return file;
}

/// The cached tokens; nothing when there are none.  A cache that cannot be read is only a loss of time.
std::optional<TokenFile> read_cache(const fs::path& cache, const std::string& tokenizer) {
  std::error_code unreadable;
  if (!fs::exists(cache, unreadable)) return std::nullopt;
  try {
    TokenFile file = read_token_file(cache);
    if (file.tokenizer == tokenizer) return file;
    spdlog::warn("{}: cached tokens of another tokenizer; tokenizing again", cache.string());
  } catch (const Error& error) {
    spdlog::warn("{}; tokenizing again", error.what());
  }
  return std::nullopt;
}

void write_cache(const fs::path& cache, const TokenFile& file) {
  try {
    fs::create_directories(cache.parent_path());
    write_token_file(cache, file);
  } catch (const std::exception& error) {
    spdlog::warn("tokens are not cached and will be made again next time: {}", error.what());
  }
}

TokenFile tokenize_cached(std::string bytes, const std::string& data_hash, const fs::path& path,
                          const fs::path& model_folder) {
  const std::string tokenizer = tokenizer_hash(model_folder);
  // The file's name is part of the key: it decides how the bytes are read and is the id of a .txt document.
  const std::string key = fmt::format("{}\n{}\n{}\n{}", kCacheVersion, tokenizer, data_hash, path.filename().string());
  const fs::path cache = cache_folder() / "tokens" / (hash_bytes(key) + ".tok");
  if (auto cached = read_cache(cache, tokenizer)) return *std::move(cached);
  TokenFile file = tokenize(std::move(bytes), path, model_folder, tokenizer);
  write_cache(cache, file);
  return file;
}

TokenFile read_tokens(const fs::path& path, const fs::path& model_folder) {
  TokenFile file = read_token_file(path);
  const std::string tokenizer = tokenizer_hash(model_folder);
  if (file.tokenizer != tokenizer) {
    fail(
        "{}: its tokens are of a tokenizer with hash {}, the model {} has one with hash {}; make the file again with "
        "scripts/tokenize.py {} TEXT OUT",
        path.string(), file.tokenizer, model_folder.string(), tokenizer, model_folder.string());
  }
  return file;
}

}  // namespace

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
    document.words = document.bytes = 0;  // of the whole text
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
      max_tokens(config.get<int64_t>("max_tokens", 0, Range<int64_t>{.low = 0})) {}

void check_present(const fs::path& file) {
  std::error_code unreadable;
  const std::string path = file.string(), packed = path + ".xz";
  if (file.extension() == ".xz") fail("{0}: is compressed; unpack it with: xz -dk {0}", path);
  if (fs::exists(file, unreadable)) return;
  if (fs::exists(packed, unreadable))
    fail("{}: not found, but {} is there; unpack it with: xz -dk {}", path, packed, packed);
  fail("{}: no such file; a relative path counts from the working directory or from the file that names it", path);
}

DataSpec present_data(const Config& config) {
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
