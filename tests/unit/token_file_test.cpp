#include "data/token_file.h"

#include <cstring>
#include <random>

#include "base/files.h"
#include "base/hash.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

namespace qroar {
namespace {

template <class T>
std::string raw(std::initializer_list<T> numbers) {
  std::string bytes;
  for (const T number : numbers) {
    char piece[sizeof(T)];
    std::memcpy(piece, &number, sizeof(T));
    bytes.append(piece, sizeof(T));
  }
  return bytes;
}

const std::string kHeader = R"({"tokenizer": "abc", "vocab_size": 10, "source": "x.txt", "ids": ["a", "b"]})";

/// A token file put together by hand.
std::string file_of(const std::string& header = kHeader, std::initializer_list<int64_t> offsets = {0, 2, 3},
                    std::initializer_list<int32_t> tokens = {7, 9, 0}, uint32_t version = 1) {
  return "QROARTOK" + raw<uint32_t>({version, static_cast<uint32_t>(header.size())}) + header + raw<int64_t>(offsets) +
         raw<int32_t>(tokens);
}

std::string error_for(const std::string& bytes) {
  const Scratch scratch;
  const auto path = scratch.write("t.tok", bytes);
  const std::string error = error_text([&] { read_token_file(path); });
  CHECK(contains(error, path.string()));
  CHECK(contains(error, "scripts/tokenize_texts.py"));
  return error;
}

TEST_CASE("a token file written byte by byte is read") {
  const Scratch scratch;
  const auto path = scratch.write("t.tok", file_of());
  CHECK(is_token_file(path));
  const TokenFile file = read_token_file(path);
  CHECK(file.tokenizer == "abc");
  CHECK(file.vocab_size == 10);
  CHECK(file.source == "x.txt");
  REQUIRE(file.documents.size() == 2);
  CHECK(file.documents[0].id == "a");
  CHECK(file.documents[0].tokens == std::vector<int32_t>{7, 9});
  CHECK(file.documents[1].id == "b");
  CHECK(file.documents[1].tokens == std::vector<int32_t>{0});
}

TEST_CASE("what write_token_file writes is read back the same") {
  const Scratch scratch;
  const TokenFile written{
      "hash",
      32000,
      "texts",
      {{"first", {1, 31999, 5}, 2, 9, "book"}, {"empty", {}}, {"\"odd\"\n\u00e9", {0}, 1, 4, "book"}}};
  write_token_file(scratch.folder() / "t.tok", written);
  const TokenFile file = read_token_file(scratch.folder() / "t.tok");
  CHECK(file.tokenizer == written.tokenizer);
  CHECK(file.vocab_size == written.vocab_size);
  CHECK(file.source == written.source);
  REQUIRE(file.documents.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(file.documents[i].id == written.documents[i].id);
    CHECK(file.documents[i].tokens == written.documents[i].tokens);
    CHECK(file.documents[i].cluster() == written.documents[i].cluster());
  }
}

TEST_CASE("groups stand in a token file only where one is not its document's id") {
  const Scratch scratch;
  const auto path = scratch.folder() / "t.tok";
  const auto written = [&](const std::string& group) {
    write_token_file(path, {"hash", 10, "texts", {{"a", {1}, 1, 1, group}, {"b", {2}, 1, 1, "b"}}});
    return contains(read_file(path), R"("groups":["a b","b"])");
  };
  CHECK(written("a b"));
  CHECK(read_token_file(path).documents[0].cluster() == "a b");
  CHECK_FALSE(written("a"));
  CHECK(read_token_file(path).documents[0].cluster() == "a");
}

TEST_CASE("only a file that starts with the magic is a token file") {
  const Scratch scratch;
  CHECK_FALSE(is_token_file(scratch.write("a.txt", "QROAR is a text")));
  CHECK_FALSE(is_token_file(scratch.write("short", "QROA")));
  CHECK_FALSE(is_token_file(scratch.folder() / "missing"));
  CHECK_FALSE(is_token_file(scratch.folder()));
}

TEST_CASE("a broken token file is an Error that says what was found and expected") {
  CHECK(contains(error_for("some text"), "does not start with QROARTOK"));
  CHECK(contains(error_for("QROARTOK"), "the version needs 4 bytes but 0 are left"));
  CHECK(contains(error_for(file_of(kHeader, {0, 2, 3}, {7, 9, 0}, 2)), "of version 2, this program reads version 1"));
  CHECK(contains(error_for("QROARTOK" + raw<uint32_t>({1, 4000000000u}) + "{}"),
                 "needs 4000000000 bytes but 2 are left"));
  CHECK(contains(error_for(file_of("{\"ids\": [")), "header:1:9: broken JSON"));
  CHECK(contains(error_for(file_of("[1]")), "header:1:1: is a JSON array"));
  CHECK(contains(error_for(file_of(R"({"tokenizer": "abc", "vocab_size": 10, "source": "x"})")), "'ids' not found"));
  CHECK(contains(error_for(file_of(R"({"tokenizer": "a", "vocab_size": 1.5, "source": "x", "ids": []})")),
                 "the header's vocab_size is or holds 1.5, no whole number"));
  for (const char* list : {"[1.5, 2]", "[1, -2]", "[1, true]", "[1, \"2\"]", "[1, 99999999999999]", "[[1], 2]"}) {
    CAPTURE(list);
    CHECK(contains(
        error_for(
            file_of(std::string(R"({"tokenizer": "a", "vocab_size": 10, "source": "x", "ids": ["a", "b"], "words": )") +
                    list + "}")),
        "the header's words is or holds "));
  }
  for (const char* list : {"[1]", "[1, 2, 3]", "5"}) {
    CHECK(contains(
        error_for(
            file_of(std::string(R"({"tokenizer": "a", "vocab_size": 10, "source": "x", "ids": ["a", "b"], "bytes": )") +
                    list + "}")),
        "the header's bytes are not as many as its ids, 2"));
  }
  const std::string before_groups =
      R"({"tokenizer": "a", "vocab_size": 10, "source": "x", "ids": ["a", "b"], "groups": )";
  CHECK(contains(error_for(file_of(before_groups + R"(["x"]})")), "the header's groups are not as many as its ids, 2"));
  CHECK(contains(error_for(file_of(before_groups + R"(["x", 3]})")), "a group in the header is no string"));
  CHECK(contains(error_for(file_of(before_groups + R"(["x", ""]})")), "a group in the header is empty"));
  CHECK(contains(error_for(file_of(R"({"tokenizer": "a", "vocab_size": 10, "source": "x", "ids": ["a", "a"]})")),
                 "documents 1 and 2 have the same id 'a'"));
  CHECK(contains(error_for(file_of(R"({"tokenizer": 3, "vocab_size": 10, "source": "x", "ids": []})")),
                 "must be string"));
  CHECK(contains(error_for(file_of(kHeader, {0, 2}, {})), "table of offsets needs 24 bytes but 16 are left"));
  CHECK(contains(error_for(file_of(kHeader, {1, 2, 3})), "first offset is 1, not 0"));
  CHECK(contains(error_for(file_of(kHeader, {0, 4, 3})), "offset 2 is 3, less than the one before it (4)"));
  CHECK(contains(error_for(file_of(kHeader, {0, -1, 3})), "offset 1 is -1"));
  CHECK(contains(error_for(file_of(kHeader, {0, 2, 4})), "says 4 tokens of 4 bytes but 12 bytes follow"));
  CHECK(contains(error_for(file_of(kHeader, {0, 2, 2})), "says 2 tokens of 4 bytes but 12 bytes follow"));
  CHECK(contains(error_for(file_of() + "x"), "but 13 bytes follow"));
  CHECK(contains(error_for(file_of(kHeader, {0, 2, INT64_MAX})), "says 9223372036854775807 tokens"));
  CHECK(contains(error_for(file_of(kHeader, {0, 2, 3}, {7, 10, 0})),
                 "document 'a' has the token 10, outside the vocabulary of 10"));
  CHECK(contains(error_for(file_of(kHeader, {0, 2, 3}, {7, 9, -1})), "document 'b' has the token -1"));
}

TEST_CASE("a hash is of the whole file with zeros in its place, and a wrong one is an Error") {
  const Scratch scratch;
  // By hand: the digits may stand anywhere in the header.
  const std::string before =
      R"({"tokenizer": "abc", "vocab_size": 10, "source": "x.txt", "ids": ["a", "b"], "hash": ")";
  const std::string hash = hash_bytes(file_of(before + std::string(32, '0') + "\"}"));
  const std::string good = file_of(before + hash + "\"}");
  CHECK(read_token_file(scratch.write("t.tok", good), true).documents.size() == 2);
  std::string bad = good;
  bad[bad.size() - 4] ^= 1;
  CHECK(contains(error_for(bad), "its contents have the hash "));
  CHECK(contains(error_for(bad), ", its header says " + hash));
  CHECK(contains(error_for(file_of(before + "abc\"}")), ", its header says abc"));
  CHECK(contains(error_for(file_of(before.substr(0, before.size() - 1) + "5}")), "JSON header is wrong"));

  const auto without = scratch.write("u.tok", file_of());
  CHECK(read_token_file(without).documents.size() == 2);
  CHECK(contains(error_text([&] { read_token_file(without, true); }), "states no hash of its contents"));
  // What this program writes has one, also beside an id of zeros.
  write_token_file(scratch.folder() / "v.tok", {std::string(32, '0'), 10, "x", {{std::string(32, '0'), {1, 2}}}});
  const std::string written = read_file(scratch.folder() / "v.tok");
  CHECK(read_token_file(scratch.folder() / "v.tok", true).documents[0].id == std::string(32, '0'));
  for (std::size_t i = 0; i < written.size(); ++i) {
    std::string flipped = written;
    flipped[i] ^= 4;
    const auto path = scratch.write("w.tok", flipped);
    CHECK_FALSE(error_text([&] { read_token_file(path, true); }) == "(no error)");
  }
}

TEST_CASE("a token file with any byte changed or cut off loads consistently or is an Error") {
  const Scratch scratch;
  const std::string good = file_of();
  std::mt19937 random(1);
  int errors = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::string bytes = good;
    bytes[random() % bytes.size()] = static_cast<char>(random());
    if (trial % 4 == 0) bytes.resize(random() % bytes.size());
    const auto path = scratch.write("t.tok", bytes);
    try {
      const TokenFile file = read_token_file(path);
      std::size_t tokens = 0;
      for (const Document& document : file.documents) tokens += document.tokens.size();
      REQUIRE(tokens == 3);
    } catch (const Error&) {
      ++errors;
    }
  }
  CHECK(errors > 1000);
}

}  // namespace
}  // namespace qroar
