// The YAML block `data`: a .txt file (one document), a .jsonl file ({"id", "text"} per line) or a pre-tokenized file,
// and the selection of its documents.
#pragma once
#include <filesystem>
#include <string>

#include "config/config.h"
#include "data/token_file.h"
#include "data/windows.h"
#include "model/llama_config.h"

namespace qroar {

struct DataSpec {
  std::filesystem::path path;
  int64_t documents = 0;   ///< number of documents taken from those that pass min_tokens; 0: all
  int64_t min_tokens = 1;  ///< minimum text tokens of a document
  int64_t skip = 0;        ///< number of documents that pass min_tokens and are skipped first
  int64_t max_tokens = 0;  ///< documents are cut to this many text tokens; 0: never

  DataSpec() = default;
  /// Reads path (required; see resolve_path), documents, min_tokens, skip, max_tokens.
  explicit DataSpec(const Config& config);
};

/// Throws an Error when the file does not exist or is compressed.
void check_present(const std::filesystem::path& file);

/// Reads the block `data` and throws check_present()'s Error at the path's place.
DataSpec read_data_spec(const Config& config);

/// Throws an Error when the tokenizer of a model folder has more entries than the model; warns once when it has so many
/// fewer that padding of the embeddings is an unlikely reason.
void check_vocabulary(int64_t vocab_size, const std::filesystem::path& model_folder, const LlamaConfig& model);

struct Dataset {
  std::vector<Document> documents;
  std::string hash;  ///< of the data file's bytes
};

/// Returns all documents of a file, tokenized (cached under cache_folder()/tokens by the hashes of tokenizer and data)
/// or read.  Throws an Error for a missing file, tokens of another tokenizer, and whatever parse_texts() and
/// check_vocabulary() reject.
Dataset load_corpus(const std::filesystem::path& path, const std::filesystem::path& model_folder,
                    const LlamaConfig& model);

/// Returns the documents as `rule` reads them: joined into one if it concatenates, with a leading BOS if documents
/// start with it.
Dataset as_read_by(const WindowRule& rule, Dataset data, int64_t bos_token_id);

/// Returns the documents that pass min_tokens, without the first `skip`, and at most `documents` of them.  Throws an
/// Error for an empty document, too few documents, and documents that are all shorter than min_tokens (names the
/// longest).
Dataset choose_documents(const Dataset& corpus, const DataSpec& spec);

}  // namespace qroar
