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
  const Tokenizer tokenizer(*data / "tokenizers/llama2-tokenizer.model");
  CHECK(tokenizer.vocab_size() == 32000);
  std::istringstream lines(read_file(*data / "tokenizers/llama2_vectors.jsonl"));
  int vectors = 0;
  for (std::string line; std::getline(lines, line); ++vectors) {
    const auto vector = nlohmann::json::parse(line);
    CAPTURE(line);
    CHECK(tokenizer.encode(vector.at("text")) == vector.at("ids").get<std::vector<int32_t>>());
  }
  CHECK(vectors >= 17);
}

TEST_CASE("tiny-books' tokenizer puts no BOS and no EOS and takes any bytes") {
  const Tokenizer tokenizer(kTinyBooks / "tokenizer.model");
  CHECK(tokenizer.vocab_size() == 4096);
  CHECK(tokenizer.encode("").empty());
  const std::vector<int32_t> ids = tokenizer.encode("Once upon a time <s> </s>");
  REQUIRE(ids.size() > 4);
  for (const int32_t id : ids) CHECK((id > 2 && id < 4096));
  for (const int32_t id : tokenizer.encode(std::string("\xff\xfe\0 \xc3", 5))) CHECK((id >= 0 && id < 4096));
}

TEST_CASE("a tokenizer that cannot be loaded is an Error that names the file") {
  const Scratch scratch;
  const auto missing = scratch.folder() / "tokenizer.model";
  CHECK(contains(error_text([&] { Tokenizer{missing}; }), missing.string()));
  for (const char* content : {"", "not a model", "{\"version\": \"1.0\"}"}) {
    const auto path = scratch.write("bad.model", content);
    CHECK(contains(error_text([&] { Tokenizer{path}; }), path.string() + ": not a SentencePiece model"));
  }
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
