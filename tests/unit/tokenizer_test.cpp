#include "data/tokenizer.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/files.h"
#include "support/catch.h"
#include "support/data.h"
#include "support/errors.h"
#include "support/scratch.h"

namespace qroar {
namespace {

const std::filesystem::path kTinyBooks = std::filesystem::path(QROAR_SOURCE_DIR) / "configs/models/tiny-books";

TEST_CASE("Llama-2's tokenizer gives the ids of Llama-2", "[data]") {
  const auto data = data_folder("Llama-2's tokenizer gives the ids of Llama-2");
  if (!data) return;
  const Scratch scratch;
  std::filesystem::create_symlink(*data / "tokenizers/llama2-tokenizer.model", scratch.folder() / "tokenizer.model");
  const auto tokenizer = load_tokenizer(scratch.folder());
  CHECK(tokenizer->vocab_size() == 32000);
  std::istringstream lines(read_file(*data / "tokenizers/llama2_vectors.jsonl"));
  int vectors = 0;
  for (std::string line; std::getline(lines, line); ++vectors) {
    const auto vector = nlohmann::json::parse(line);
    CAPTURE(line);
    CHECK(tokenizer->encode(vector.at("text")) == vector.at("ids").get<std::vector<int32_t>>());
  }
  CHECK(vectors >= 17);
}

TEST_CASE("tiny-books' tokenizer puts no BOS and no EOS and takes any bytes") {
  const auto tokenizer = load_tokenizer(kTinyBooks);
  CHECK(tokenizer->vocab_size() == 4096);
  CHECK(tokenizer->encode("").empty());
  const std::vector<int32_t> ids = tokenizer->encode("Once upon a time <s> </s>");
  REQUIRE(ids.size() > 4);
  CHECK(tokenizer->decode(ids) == "Once upon a time <s> </s>");
  for (const int32_t id : ids) CHECK((id > 2 && id < 4096));
  for (const int32_t id : tokenizer->encode(std::string("\xff\xfe\0 \xc3", 5))) CHECK((id >= 0 && id < 4096));
}

TEST_CASE("a tokenizer that cannot be loaded is an Error that names the file") {
  const Scratch scratch;
  const auto error = [&] { return error_text([&] { load_tokenizer(scratch.folder()); }); };
  CHECK(contains(error(), scratch.folder().string() + ": holds neither"));
  for (const char* content : {"", "not a model", "{\"version\": \"1.0\"}"}) {
    const auto path = scratch.write("tokenizer.json", content);
    CHECK(contains(error(), path.string() + ": not a tokenizer.json of byte-level BPE"));
  }
  scratch.write("tokenizer.json", R"({"model": {"type": "WordPiece"}})");
  CHECK(contains(error(), "its model is \"WordPiece\", not BPE"));
  scratch.write("tokenizer.json", R"({"normalizer": {"type": "NFC"}, "model": {"vocab": {}, "merges": []}})");
  CHECK(contains(error(), "has a normalizer"));
  scratch.write("tokenizer.json", R"({"pre_tokenizer": {"type": "Metaspace"}, "model": {"vocab": {}, "merges": []}})");
  CHECK(contains(error(), "Metaspace"));
  scratch.write("tokenizer.json",
                R"({"pre_tokenizer": {"type": "ByteLevel"}, "model": {"vocab": {"a": 0}, "merges": [["a", "b"]]}})");
  CHECK(contains(error(), "a merge speaks of a token"));
  for (const char* content : {"", "not a model", "{\"version\": \"1.0\"}"}) {
    const auto path = scratch.write("tokenizer.model", content);
    CHECK(contains(error(), path.string() + ": not a SentencePiece model"));
  }
}

TEST_CASE("byte-level BPE merges by rank, cuts before merging, and gives any bytes back") {
  const Scratch scratch;
  // Bytes as GPT-2 writes them: a space is U+0120.  Merges: l o, lo w, space lo (never within a word), 1 1 (cut
  // before).
  std::string vocab =
      R"("l": 0, "o": 1, "w": 2, "Ġ": 3, "1": 4, "lo": 5, "low": 6, "Ġlo": 7, "11": 8, "Ã": 9, "¤": 10)";
  scratch.write("tokenizer.json", R"({"added_tokens": [{"id": 11, "content": "<end>", "special": true}],
      "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},
                                                             {"type": "ByteLevel", "add_prefix_space": false}]},
      "model": {"type": "BPE", "vocab": {)" +
                                      vocab + R"(}, "merges": [["l", "o"], ["lo", "w"], "Ġ lo", ["1", "1"]]}})");
  const auto tokenizer = load_tokenizer(scratch.folder());
  CHECK(tokenizer->vocab_size() == 12);
  CHECK(tokenizer->encode("low lo11") == std::vector<int32_t>{6, 7, 4, 4});
  CHECK(tokenizer->encode("lolow low") == std::vector<int32_t>{5, 6, 3, 6});
  CHECK(tokenizer->encode("\xc3\xa4") == std::vector<int32_t>{9, 10});
  CHECK(tokenizer->decode(std::vector<int32_t>{7, 11, 9, 10}) == " lo\xc3\xa4");
  CHECK(tokenizer->encode("lozw") == std::vector<int32_t>{6});  // a byte without a token is dropped, as tokenizers does
}

TEST_CASE("the tokenizer's hash is of tokenizer.model, else of tokenizer.json") {
  const Scratch scratch;
  CHECK(error_text([&] { tokenizer_hash(scratch.folder()); }) ==
        scratch.folder().string() +
            ": holds neither tokenizer.model nor tokenizer.json; copy the file from where the model "
            "came from");
  scratch.write("tokenizer.json", "json");
  CHECK(tokenizer_hash(scratch.folder()) == hash_bytes("json"));
  scratch.write("tokenizer.model", "model");
  CHECK(tokenizer_hash(scratch.folder()) == hash_bytes("model"));
}

}  // namespace
}  // namespace qroar
