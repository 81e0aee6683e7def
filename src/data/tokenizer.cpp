#include "data/tokenizer.h"

#include <sentencepiece_processor.h>

#include "base/error.h"
#include "base/files.h"
#include "data/byte_bpe.h"

namespace qroar {
namespace {

class SentencePiece : public Tokenizer {
 public:
  explicit SentencePiece(const std::filesystem::path& file) {
    const auto status = processor_.LoadFromSerializedProto(read_file(file));
    if (!status.ok() || processor_.GetPieceSize() == 0) {
      fail("{}: not a SentencePiece model{}{}", file.string(), status.ok() ? "" : ": ", status.message());
    }
  }

  // One call for the whole text: its time and memory grow linearly (41 MB: 112 s, 4.2 GB), and pieces cut apart would
  // be tokenized differently at the cuts.
  std::vector<int32_t> encode(const std::string& text) const override {
    std::vector<int32_t> ids;
    const auto status = processor_.Encode(text, &ids);
    if (!status.ok()) fail("SentencePiece could not tokenize a text of {} bytes: {}", text.size(), status.message());
    return ids;
  }
  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    const auto status = processor_.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
    if (!status.ok()) fail("SentencePiece could not make text of {} tokens: {}", ids.size(), status.message());
    return text;
  }
  int64_t vocab_size() const override { return processor_.GetPieceSize(); }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

std::filesystem::path tokenizer_file(const std::filesystem::path& model_folder) {
  for (const char* name : {"tokenizer.model", "tokenizer.json"}) {
    std::error_code unreadable;
    if (std::filesystem::exists(model_folder / name, unreadable)) return model_folder / name;
  }
  fail("{}: holds neither tokenizer.model nor tokenizer.json; copy the file from where the model came from",
       model_folder.string());
}

}  // namespace

std::unique_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& model_folder) {
  const std::filesystem::path file = tokenizer_file(model_folder);
  if (file.extension() == ".json") return std::make_unique<ByteBpe>(file);
  return std::make_unique<SentencePiece>(file);
}

std::string tokenizer_hash(const std::filesystem::path& model_folder) {
  return hash_file(tokenizer_file(model_folder));
}

}  // namespace qroar
