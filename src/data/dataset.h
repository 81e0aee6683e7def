// The YAML block `data`: a .txt file (one document), a .jsonl file ({"id", "text"} a line) or a pre-tokenized file, and
// which documents of it count.
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
  int64_t documents = 0;   ///< the first so many that pass min_tokens; 0 takes all
  int64_t min_tokens = 1;  ///< text tokens a document needs
  int64_t skip = 0;        ///< documents that pass min_tokens and are left out first
  int64_t max_tokens = 0;  ///< documents are cut to so many text tokens; 0: never

  DataSpec() = default;
  /// Reads path (required; see resolve_path), documents, min_tokens, skip, max_tokens.
  explicit DataSpec(const Config& config);
};

/// Throws an Error when the file is not there or is compressed.
void check_present(const std::filesystem::path& file);

/// The block `data`, whose file is there: else check_present()'s Error at the path's place.
DataSpec present_data(const Config& config);

/// An Error when the tokenizer of a model folder has more entries than the model; a warning, once, when it has so many
/// fewer that padding of the embeddings is unusual.
void check_vocabulary(int64_t vocab_size, const std::filesystem::path& model_folder, const LlamaConfig& model);

struct Dataset {
  std::vector<Document> documents;
  std::string hash;  ///< of the data file's bytes
};

/// All documents of a file: tokenized (cached under cache_folder()/tokens by the hashes of tokenizer and data) or read.
/// Errors: missing file; what parse_texts() refuses; tokens of another tokenizer; what check_vocabulary() refuses.
Dataset load_corpus(const std::filesystem::path& path, const std::filesystem::path& model_folder,
                    const LlamaConfig& model);

/// The documents as the windows' rule reads them: joined to one where it concatenates, BOS in front where it starts
/// with it.
Dataset as_read_by(const WindowRule& rule, Dataset data, int64_t bos_token_id);

/// The documents that pass min_tokens, without the first `skip`, at most `documents` of them.  Errors: an empty
/// document; fewer documents than asked for; all shorter than min_tokens (says the longest).
Dataset choose_documents(const Dataset& corpus, const DataSpec& spec);

}  // namespace qroar
