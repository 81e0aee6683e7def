#include "data/tokenizer.h"

#include <sentencepiece_processor.h>

#include "base/error.h"
#include "base/files.h"

namespace qroar {

Tokenizer::Tokenizer(const std::filesystem::path& file)
    : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  const auto status = processor_->LoadFromSerializedProto(read_file(file));
  if (!status.ok() || processor_->GetPieceSize() == 0) {
    fail(
        "{}: not a SentencePiece model{}{}; a byte-level BPE tokenizer (tokenizer.json) is used through "
        "scripts/tokenize.py",
        file.string(), status.ok() ? "" : ": ", status.message());
  }
}

Tokenizer::~Tokenizer() = default;

// One call for the whole text: its time and memory grow linearly (41 MB: 112 s, 4.2 GB), and pieces cut apart would be
// tokenized differently at the cuts.
std::vector<int32_t> Tokenizer::encode(const std::string& text) const {
  std::vector<int32_t> ids;
  const auto status = processor_->Encode(text, &ids);
  if (!status.ok()) fail("SentencePiece could not tokenize a text of {} bytes: {}", text.size(), status.message());
  return ids;
}

int64_t Tokenizer::vocab_size() const { return processor_->GetPieceSize(); }

std::string tokenizer_hash(const std::filesystem::path& model_folder) {
  for (const char* name : {"tokenizer.model", "tokenizer.json"}) {
    std::error_code unreadable;
    if (std::filesystem::exists(model_folder / name, unreadable)) return hash_file(model_folder / name);
  }
  fail("{}: holds neither tokenizer.model nor tokenizer.json; copy the file from where the model came from",
       model_folder.string());
}

}  // namespace qroar
